"""A plug-in of pytest: notes which test runs which line."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Generator
from pathlib import Path
from types import FrameType
from typing import Any, Final

import pytest

PROCESSES: Final = frozenset({"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.exec"})
"""Audit events of a test whose lines may be run elsewhere."""

EMULATOR: Final = "kon.backends.emulator"
"""What stands for Amazon runs nothing that is changed; it is started for whichever test is the first."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--note-lines", help="a file for what each test runs")


def pytest_configure(config: pytest.Config) -> None:
    if path := config.getoption("--note-lines"):
        config.pluginmanager.register(_Notes(Path(path), Path.cwd()))


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
        notes = {"imported": _by_file(self._imported), "tests": self._tests}
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
