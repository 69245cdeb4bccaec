"""The changes that `make mutants` makes."""

from __future__ import annotations

import ast
import importlib.util
import os
import py_compile
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tests.mutants.__main__ import PROJECT, ROOMS, Copy, Notes, Ran, every, harmless, key, replace
from tests.mutants.changes import Mutant, changed, mutants
from tests.mutants.ready import NOT_IN_A_FUNCTION, PYTEST, Parts, Ready

SOURCES = [pattern for room in ROOMS.values() for pattern in room.sources]

SOURCE = """\
class Worker:
    async def run(self, queue, found, left) -> bool:
        first = found
        if found < left and queue:
            await queue.ack(found)
            left += 1
        async with self.lock:
            del queue[0]
        try:
            first = [each for each in found if each]
        except KeyError:
            raise
        self.first = first + 1 if left else 0
        return first
"""


def test_each_change_changes_one_place() -> None:
    made = {mutant.about: changed(SOURCE, mutant) for mutant in mutants("f.py", SOURCE)}
    assert set(made) == {
        "found < left and queue: never",
        "found < left and queue: always",
        "found < left and queue: and <-> or",
        "found < left and queue: without found < left",
        "found < left and queue: without queue",
        "found < left: Lt -> LtE",
        "await queue.ack(found): left out",
        "left += 1: left out",
        "left += 1: += <-> -=",
        "async with self.lock: del queue[0]: left out",
        "del queue[0]: left out",
        "first = [each for each in found if each]: left out",
        "if each: left out",
        "raise: left out",
        "self.first = first + 1 if left else 0: left out",
        "left: never",
        "left: always",
        "first + 1: + <-> -",
        "return first: None",
    }
    assert "await" not in made["await queue.ack(found): left out"]
    assert "if found <= left and queue:" in made["found < left: Lt -> LtE"]
    assert "del queue[0]" in made["async with self.lock: del queue[0]: left out"]
    assert len({*made.values(), ast.unparse(ast.parse(SOURCE))}) == len(made) + 1


def test_a_change_names_the_lines_of_its_own_statement() -> None:
    lines = {mutant.about: (mutant.line, mutant.upto) for mutant in mutants("f.py", SOURCE)}
    assert lines["found < left and queue: never"] == (4, 4)
    assert lines["await queue.ack(found): left out"] == (5, 5)
    assert lines["if each: left out"] == (10, 10)


def test_those_tests_are_run_that_run_the_change_its_module_s_own_first() -> None:
    notes = Notes(
        {"kon/a.py": [1, 2, 8]},
        {
            "tests/test_b.py::test_slow": Ran(2.0, False, {"kon/a.py": [3, 4]}),
            "tests/test_b.py::test_quick": Ran(1.0, False, {"kon/a.py": [3]}),
            "tests/test_b.py::test_other": Ran(1.0, False, {"kon/b.py": [3]}),
            "tests/test_b.py::test_processes": Ran(4.0, True, {}),
            "tests/test_a.py::test_own": Ran(3.0, False, {"kon/a.py": [4]}),
        },
    )
    own, quick, slow, processes = (
        "tests/test_a.py::test_own",
        "tests/test_b.py::test_quick",
        "tests/test_b.py::test_slow",
        "tests/test_b.py::test_processes",
    )
    assert list(notes.about(Mutant("kon/a.py", 3, 3, "", 0, 0))) == [quick, slow, processes]
    assert list(notes.about(Mutant("kon/a.py", 3, 4, "", 0, 0))) == [own, quick, slow, processes]
    assert list(notes.about(Mutant("kon/a.py", 8, 8, "", 0, 0))) == [own, quick, slow, processes]
    del notes.tests[processes]
    assert list(notes.about(Mutant("kon/a.py", 99, 99, "", 0, 0))) == [own, quick, slow]


CHECKS = """\
import subprocess, time
from kon_of_a_test import Number, half

def test_even():
    assert half(4) == 2

def test_odd():
    assert half(3) == 1

def test_process():
    subprocess.run("true", check=True)

def test_endless():
    time.sleep(0 if half(2) == 1 else 60)

def test_number():
    number = Number(6)
    assert number.half == 3
    number.half = 4
    assert number.n == 8
"""


HALF = """\
STEP = 2

class Number:
    def __init__(self, n):
        self.n = n

    @property
    def half(self):
        return half(self.n)

    @half.setter
    def half(self, n):
        self.n = 2 * n

def half(n):
    if n % 2:
        n -= 1
    return n // STEP
"""


@pytest.fixture
def project(tmp_path: Path) -> dict[str, str]:
    """A small one, and the environment in which its tests run."""
    (tmp_path / "kon_of_a_test.py").write_text(HALF, encoding="utf-8")
    (tmp_path / "test_half.py").write_text(CHECKS, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    return {**os.environ, "PYTHONPATH": f"{tmp_path}:{PROJECT}"}


def test_it_is_seen_which_test_runs_which_line(tmp_path: Path, project: dict[str, str]) -> None:
    words = (*PYTEST, "-p", "tests.mutants.lines", "--note-lines", "notes.json")
    subprocess.run([sys.executable, "-m", "pytest", *words], cwd=tmp_path, env=project, check=True)
    notes = msgspec.json.decode((tmp_path / "notes.json").read_bytes(), type=Notes)
    assert notes.imported["kon_of_a_test.py"] == [1, 3, 4, 7, 8, 11, 12, 15]
    lines = {
        name.partition("::")[2]: test.lines.get("kon_of_a_test.py") for name, test in notes.tests.items()
    }
    assert lines == {
        "test_even": [16, 18],
        "test_odd": [16, 17, 18],
        "test_process": None,
        "test_endless": [16, 18],
        "test_number": [5, 9, 13, 16, 18],
    }
    assert [name for name, test in notes.tests.items() if test.has_processes] == [
        "test_half.py::test_process"
    ]


@pytest.mark.long
def test_a_change_is_tried_in_a_process_that_has_loaded_all_before(
    tmp_path: Path, project: dict[str, str]
) -> None:
    source = tmp_path / "kon_of_a_test.py"
    ready = Ready(tmp_path, [], project, tmp_path / "told.txt")

    def answer(was: str, now: str, *tests: str) -> int:
        limits_s = {f"test_half.py::test_{name}": 0.5 if name == "endless" else 5.0 for name in tests}
        source.write_text(HALF.replace(was, now), encoding="utf-8")
        try:
            return ready.run(source.name, HALF, limits_s)
        finally:
            source.write_text(HALF, encoding="utf-8")

    try:
        assert answer("", "", "endless", "even", "odd", "process", "number") == 0
        assert answer("n -= 1", "n += 1", "even", "number") == 0
        assert answer("n -= 1", "n += 1", "even", "odd") == 1
        assert answer("n // STEP", "n // 1", "endless", "even") == -signal.SIGALRM
        assert answer("n // STEP", "n // 1", "even", "endless") == 1
        assert answer("return half(self.n)", "return 0", "number") == 1
        assert answer("self.n = 2 * n", "pass", "number") == 1
        assert answer("self.n = 2 * n", "pass", "even") == 0
        assert answer("STEP = 2", "STEP = 1", "even") == NOT_IN_A_FUNCTION
    finally:
        ready.close()


@pytest.mark.long
def test_most_changes_are_of_a_function_in_each_source() -> None:
    """One that is of more is tried by a start of pytest of its own, which takes a hundred times as long."""
    lasts = {mutant.file: mutant for mutant, _ in every()}
    for name, mutant in lasts.items():
        file = PROJECT / name
        text = file.read_text(encoding="utf-8")
        before, after = Parts(text, file), Parts(changed(text, mutant), file)
        assert before.others == after.others, mutant.name
        assert before.functions != after.functions


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
    copy = Copy(tmp_path / "copy").folder
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    told = subprocess.run(
        [sys.executable, "-c", script], cwd=copy, env=environment, capture_output=True, text=True, check=True
    )
    run = {Path(line).resolve() for line in told.stdout.splitlines()}
    assert run == {copy.joinpath(*parts).with_suffix(".py").resolve() for parts in modules}
