"""The changes that `make mutants` makes."""

from __future__ import annotations

import ast
import importlib.util
import os
import py_compile
import subprocess
import sys
from pathlib import Path

from tests.mutants.__main__ import PROJECT, ROOMS, copied, every, harmless, key, replace
from tests.mutants.changes import changed, mutants

SOURCES = [pattern for room in ROOMS.values() for pattern in room.sources]

SOURCE = """\
async def run(queue, found, left):
    if found < left and queue:
        await queue.ack(found)
        left += 1
    return found + left
"""


def test_each_change_changes_one_place() -> None:
    made = {mutant.about: changed(SOURCE, mutant) for mutant in mutants("f.py", SOURCE)}
    assert set(made) == {
        "found < left and queue: never",
        "found < left and queue: and <-> or",
        "found < left: Lt -> LtE",
        "await queue.ack(found): left out",
        "left += 1: left out",
        "found + left: + <-> -",
    }
    assert "await" not in made["await queue.ack(found): left out"]
    assert "if found <= left and queue:" in made["found < left: Lt -> LtE"]
    assert len({*made.values(), ast.unparse(ast.parse(SOURCE))}) == len(made) + 1


def test_there_are_more_than_enough_of_them_in_every_source() -> None:
    found = every()
    assert len(found) >= 150
    assert len({mutant.file for mutant, _ in found}) >= len(SOURCES)


def test_what_is_said_to_be_harmless_is_still_a_change_that_is_made() -> None:
    assert harmless() <= {key(mutant) for mutant, _ in every()}


def test_a_change_is_what_is_run_though_python_has_compiled_the_source_before(tmp_path: Path) -> None:
    """Both texts are as long, and of the same second."""
    file = tmp_path / "compiled_before.py"
    for text in ("ANSWER = 1\n", "ANSWER = 2\n"):
        replace(file, text)
        os.utime(file, (1e9, 1e9))
        spec = importlib.util.spec_from_file_location("compiled_before", file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        assert f"ANSWER = {module.ANSWER}\n" == text
        py_compile.compile(str(file))


def test_what_is_changed_is_what_is_run(tmp_path: Path) -> None:
    """A change of a copy that nobody imports would be found by nobody."""
    modules = [
        file.relative_to(PROJECT).with_suffix("").parts for each in SOURCES for file in PROJECT.glob(each)
    ]
    names = [".".join(parts if parts[0] == "kon" else ("kon", *parts)) for parts in modules]
    script = f"import importlib; [print(importlib.import_module(name).__file__) for name in {names!r}]"
    copy = copied(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    told = subprocess.run(
        [sys.executable, "-c", script], cwd=copy, env=environment, capture_output=True, text=True, check=True
    )
    run = {Path(line).resolve() for line in told.stdout.splitlines()}
    assert run == {copy.joinpath(*parts).with_suffix(".py").resolve() for parts in modules}
