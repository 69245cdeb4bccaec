"""A test whose work stands in a function of its own calls that function: else it can't fail."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

Function = ast.FunctionDef | ast.AsyncFunctionDef


def never_named(source: str) -> Iterator[str]:
    """Functions within others that nothing there names, but for methods and what is decorated."""
    for outer in ast.walk(ast.parse(source)):
        if not isinstance(outer, Function):
            continue
        inside = [node for node in ast.walk(outer) if node is not outer]
        named = {node.id for node in inside if isinstance(node, ast.Name)}
        methods = {each for node in inside if isinstance(node, ast.ClassDef) for each in node.body}
        for node in inside:
            if not isinstance(node, Function) or node.decorator_list or node in methods:
                continue
            if node.name not in named:
                yield f"{outer.name}: {node.name}"


def test_each_function_within_a_test_is_called() -> None:
    folder = Path(__file__).parent
    found = [
        f"{file.relative_to(folder)}: {each}"
        for file in sorted(folder.rglob("*.py"))
        for each in never_named(file.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_one_that_nobody_calls_is_seen() -> None:
    source = (
        "def test_a():\n    def main():\n        assert 0\n\n    def used():\n        return\n    used()\n"
    )
    assert list(never_named(source)) == ["test_a: main"]
