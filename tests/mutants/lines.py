"""A plug-in of pytest: notes which test runs which line, or runs chosen tests alone, in their order."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Generator
from pathlib import Path
from types import FrameType
from typing import Any, Final

import pytest

START_S: Final = 60.0
"""How long imports may take, or what comes after the last test."""

PROCESSES: Final = frozenset({"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.exec"})
"""Audit events of a test whose lines may be run elsewhere."""

EMULATOR: Final = "kon.backends.emulator"
"""What stands for Amazon runs nothing that is changed; it is started for whichever test is the first."""

OURS: Final = ("kon", "strategies", "tests")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--note-lines", help="a file for what each test runs")
    parser.addoption("--chosen", help="a file with tests, in their order, and how long each may take")


def pytest_configure(config: pytest.Config) -> None:
    if path := config.getoption("--note-lines"):
        config.pluginmanager.register(_Notes(Path(path), Path.cwd()))
    if path := config.getoption("--chosen"):
        config.pluginmanager.register(_Chosen(json.loads(Path(path).read_text(encoding="utf-8"))))


class _Notes:
    def __init__(self, path: Path, project: Path) -> None:
        self._path = path
        self._project = project
        self._names: dict[str, str] = {}  # of sources, from the project's folder; "" for all others
        self._imported: set[tuple[str, int]] = set()
        self._run = self._imported
        self._tests: dict[str, dict[str, Any]] = {}
        self._has_processes = False
        sys.addaudithook(self._audit)
        threading.settrace(self._enter)
        sys.settrace(self._enter)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        began_s, self._has_processes, self._run = time.perf_counter(), False, set()
        try:
            return (yield)
        finally:
            took_s = time.perf_counter() - began_s
            self._tests[item.nodeid] = {
                "took_s": took_s,
                "has_processes": self._has_processes,
                "lines": _by_file(self._run),
            }
            self._run = self._imported

    def pytest_sessionfinish(self) -> None:
        sys.settrace(None)
        loaded = [name for name, module in list(sys.modules.items()) if getattr(module, "__file__", None)]
        modules = [name for name in loaded if name.partition(".")[0] not in OURS]
        notes = {"imported": _by_file(self._imported), "modules": modules, "tests": self._tests}
        self._path.write_text(json.dumps(notes), encoding="utf-8")

    def _name(self, path: Path) -> str:
        if not (path.is_absolute() and path.resolve().is_relative_to(self._project)):
            return ""
        inside = path.resolve().relative_to(self._project)  # kon/strategies is a link
        return "" if inside.parts[0] == "tests" else str(inside)

    def _audit(self, event: str, args: object) -> None:
        if event in PROCESSES and EMULATOR not in repr(args):
            self._has_processes = True

    def _enter(self, frame: FrameType, event: str, arg: object) -> Callable[..., Any] | None:
        code = frame.f_code
        name = self._names.get(code.co_filename)
        if name is None:
            name = self._name(Path(code.co_filename))
            self._names[code.co_filename] = name
        if not name:
            return None
        # modules and classes run once, in whichever test is the first to import them
        run = self._run if code.co_flags & 1 else self._imported

        def line(frame: FrameType, event: str, arg: object) -> Callable[..., Any]:
            if event == "line":
                run.add((name, frame.f_lineno))
            return line

        return line


def _by_file(lines: set[tuple[str, int]]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for file, line in sorted(lines):
        found[file].append(line)
    return found


class _Chosen:
    """SIGALRM ends a test that takes longer than it may, or a start, and the process with it."""

    def __init__(self, limits_s: dict[str, float]) -> None:
        self._limits_s = limits_s
        self._order = {test: at for at, test in enumerate(limits_s)}
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, START_S)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted(
            (item for item in items if item.nodeid in self._order), key=lambda item: self._order[item.nodeid]
        )

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        signal.setitimer(signal.ITIMER_REAL, self._limits_s[item.nodeid])
        try:
            return (yield)
        finally:
            signal.setitimer(signal.ITIMER_REAL, START_S)
