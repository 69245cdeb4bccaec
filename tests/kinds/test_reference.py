"""References to functions: what is told of them without running anything."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from kon.core.errors import ConfigurationError
from kon.kinds.reference import check, parse


def test_modules_and_files_are_told_apart() -> None:
    assert parse("json:dumps") == parse("json:dumps")
    assert (parse("a.b:C.d").module, parse("a.b:C.d").file, parse("a.b:C.d").qualname) == ("a.b", None, "C.d")
    file = parse("jobs.py:f")
    assert file.file == str(Path.cwd() / "jobs.py")
    assert file.qualname == "f"
    assert parse("/x:y/jobs.py:f").file == "/x:y/jobs.py"


def test_the_module_of_a_file_has_the_same_name_in_every_process() -> None:
    assert parse("/x/jobs.py:f").module == parse("/x/jobs.py:g").module == "_kon_fedb63542ce4749b"
    assert parse("/x/jobs.py:f").module != parse("/y/jobs.py:f").module


@pytest.mark.parametrize(
    "text", ["", "json", ":f", "json:", "json:1", "a-b:f", "json:f()", "a b:f", "json:a..b"]
)
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        parse(text)


MODULE = """
import os.path as paths, collections.abc
from json import dumps as write
if paths:
    def in_if(): pass
try:
    import no_such_module
except ImportError:
    in_except = None
for in_for in (): pass
with open(__file__) as in_with: pass
def plain(): inside = 1
class Class: attribute = 1
async def coroutine(): pass
first, *rest = [1, 2]
annotated: int = 3
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "jobs.py").write_text(MODULE)
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("raise RuntimeError('this must not run')")
    (tmp_path / "package" / "inner.py").write_text("def f(): pass")
    (tmp_path / "namespace").mkdir()
    (tmp_path / "namespace" / "inner.py").write_text("def f(): pass")
    return tmp_path


def checked(text: str, folder: Path) -> None:
    check(parse(text), [str(folder), *sys.path])


@pytest.mark.parametrize(
    "name",
    [
        *("paths", "collections", "write", "in_if", "in_except", "no_such_module", "in_for", "in_with"),
        *("plain", "Class", "Class.method", "coroutine", "first", "rest", "annotated"),
    ],
)
def test_names_that_a_module_binds(name: str, folder: Path) -> None:
    checked(f"jobs:{name}", folder)
    checked(f"{folder}/jobs.py:{name}", folder)


@pytest.mark.parametrize(
    "reference",
    [
        "package.inner:f",
        "namespace.inner:f",
        "json:dumps",
        "math:sqrt",
        "time:sleep",
        "builtins:len",
        "os.path:basename",
        "sys:exit",
        "tests.kinds.functions:Squares.of",
    ],
)
def test_functions_that_are_there(reference: str, folder: Path) -> None:
    checked(reference, folder)


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("jobs:plan", 'jobs.py defines no "plan", did you mean "plain"?'),
        ("jobs:inside", 'jobs.py defines no "inside"'),
        ("jobs:attribute", 'jobs.py defines no "attribute"'),
        ("{folder}/jobs.py:zzz", 'jobs.py defines no "zzz"'),
        ("package.inner:g", 'inner.py defines no "g"'),
        ("package.outer:g", 'there is no module "package.outer" on the path'),
        ("no_such_module:f", 'there is no module "no_such_module" on the path; `sys_path` names folders'),
        ("no_such_module.inner:f", 'there is no module "no_such_module" on the path'),
        ("{folder}/none.py:f", 'none.py": No such file or directory'),
        ("{folder}/package:f", 'package": Is a directory'),
    ],
)
def test_functions_that_can_not_be_there(reference: str, says: str, folder: Path) -> None:
    with pytest.raises(ConfigurationError) as raised:
        checked(reference.format(folder=folder), folder)
    assert says in str(raised.value)


@pytest.mark.parametrize("source", ["def f(:\n", "x = '\0'", "\xff"])
def test_what_is_not_python(source: str, tmp_path: Path) -> None:
    (tmp_path / "jobs.py").write_bytes(source.encode("latin-1"))
    with pytest.raises(ConfigurationError, match="is not Python"):
        checked("jobs:f", tmp_path)


@pytest.mark.parametrize(
    "source",
    [
        "from json import *",
        "def __getattr__(name): pass",
        "globals()['f'] = 1",
        "exec('f = 1')",
        "vars()['f'] = 1",
    ],
)
def test_modules_whose_names_only_show_when_they_run(source: str, tmp_path: Path) -> None:
    (tmp_path / "jobs.py").write_text(source)
    checked("jobs:f", tmp_path)
