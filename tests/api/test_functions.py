"""References to functions: what a worker finds again, and what is refused before anything starts."""

from __future__ import annotations

import functools
import subprocess
import sys
import types
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from kon.api.functions import import_path, reference_of
from kon.core.errors import ConfigurationError
from tests.api.functions import Shelf, double


@pytest.mark.parametrize(
    ("function", "reference"),
    [
        (double, "tests.api.functions:double"),
        (Shelf.triple, "tests.api.functions:Shelf.triple"),
        (len, "builtins:len"),
        (str.upper, "builtins:str.upper"),
        (Fraction, "fractions:Fraction"),
    ],
)
def test_what_a_module_offers(function: Callable[..., Any], reference: str) -> None:
    assert reference_of(function, "kon.map") == reference


def _inner() -> Callable[[int], int]:
    def inner(number: int) -> int:
        return number

    return inner


def _impostor(number: int) -> int:
    return number


_impostor.__qualname__ = "gone"


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda number: number, r"<lambda> has no name that workers could import; define it with `def`"),
        (_inner(), r"_inner.<locals>.inner is defined inside a function"),
        (functools.partial(double, 2), r"expected a function, found functools.partial"),
        (_impostor, r"calls itself tests.api.test_functions.gone, and there is nothing under that name"),
        ([].append, r"there is nothing under that name|expected a function"),
    ],
)
def test_what_no_worker_could_find(function: Callable[..., Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        reference_of(function, "kon.map")


def _main_module(monkeypatch: pytest.MonkeyPatch, **attributes: Any) -> Callable[..., Any]:
    """A function of a program that is started as these attributes of `__main__` say."""
    main = types.ModuleType("__main__")
    exec("def mine(item): return item", main.__dict__)
    for name, value in attributes.items():
        setattr(main, name, value)
    monkeypatch.setitem(sys.modules, "__main__", main)
    function: Callable[..., Any] = main.__dict__["mine"]
    return function


def test_a_function_of_the_script_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.touch()
    function = _main_module(monkeypatch, __file__=str(script))
    assert reference_of(function, "kon.map") == f"{script}:mine"


def test_a_function_of_a_module_run_as_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = types.SimpleNamespace(name="package.module")
    function = _main_module(monkeypatch, __file__="anything", __spec__=spec)
    assert reference_of(function, "kon.map") == "package.module:mine"


def test_a_function_typed_into_a_session(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match=r"was typed into an interactive session.*save it in a file"):
        reference_of(_main_module(monkeypatch), "kon.map")


def test_a_function_of_a_script_without_py(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.touch()
    with pytest.raises(ConfigurationError, match=r"not a file whose name ends in \.py"):
        reference_of(_main_module(monkeypatch, __file__=str(script)), "kon.map")


def test_the_path_of_imports_goes_along(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path), "/nowhere", *sys.path])
    folders = import_path()
    assert folders[0] == str(tmp_path)
    assert "/nowhere" not in folders
    assert not any(folder.endswith("site-packages") for folder in folders)


def test_a_script_that_calls_kon_while_it_is_imported(tmp_path: Path) -> None:
    """Without the check, each worker would run the script again, and start workers of its own."""
    script = tmp_path / "unguarded.py"
    script.write_text("import kon\ndef f(x): return x\nprint(kon.map(f, [1], attempts=1, workers=1))\n")
    ended = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert "kon.map was called while a worker imported" in ended.stderr
    assert 'put the call under `if __name__ == "__main__":` there' in ended.stderr
