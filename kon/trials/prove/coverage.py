"""Coverage: which lines of a task's way the search runs, and which functions it never enters."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any, Final

import msgspec

from kon.trials.prove.drawn import SCENARIO
from kon.trials.prove.playing import processes
from kon.trials.prove.search import Cell, search
from kon.trials.prove.services import Searchable

PACKAGES: Final = {"engine": "kon.engine", "strategies": "kon.strategies"}
"""What is looked at, by the name of its part, but for what only writes records or watches."""

_LEFT_OUT: Final = ("kon.engine.records", "kon.engine.watchers", "kon.engine.peek")

DATA_PATH: Final = {
    "sqlite": ("queue", "spans", "ledger", "connection", "turn", "failures"),
    "aws": (
        *("queue", "bodies", "dynamodb", "rows", "s3_ledger", "pace", "calls"),
        *("lean.client", "lean.codec", "lean.connections", "lean.reply", "lean.retries", "lean.signing"),
    ),
}
"""The modules of a backend that a task's way leads through, by the backend's name."""

_LAUNCH: Final = "of those who start a run or look at it; no task's way leads there"
_THREADS: Final = "of a real thread, in whose place the search's loop does the same calls"
_SOCKETS: Final = "of real sockets, or of what threads ask the SDK; the model stands right behind them"
_SCANS: Final = "nothing on a task's way reads through a whole ledger"

APART: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        (
            *("control.Control.tasks_per_message", "control.Control.publish"),
            *("control.Control.published", "control.Control.published_by", "control.Control.begun_s"),
            *("control.Control.refusals", "control.Control.hosts_at_work"),
            *("tally.Tally.close", "worker.Worker.load", "rows.table_definition"),
        ),
        _LAUNCH,
    ),
    **dict.fromkeys(
        (
            *("connection._version", "connection.Connection._start"),
            *("connection.Connection._run", "connection.Connection._open_and_serve"),
            *("connection.Connection._refuse", "connection.Connection._serve", "connection.Connection._next"),
            *("connection.Connection._post", "turn.Turn.take"),
            *("calls._done", "calls.Calls.close", "calls.Calls._submit", "calls.Calls._poll_on_thread"),
        ),
        _THREADS,
    ),
    **dict.fromkeys(
        (
            *("client.Lean.close", "client.Lean._learn", "client.Lean._look_up"),
            *("connections.Connections.close", "connections.Connections._connected"),
            "connections.Connections._socket",
        ),
        _SOCKETS,
    ),
    **dict.fromkeys(
        (
            *("paged_ledger.PagedLedger.scan", "dynamodb.DynamoLedger._scan"),
            *("s3_ledger.S3Ledger.scan", "s3_ledger.S3Ledger._list"),
        ),
        _SCANS,
    ),
}
"""Functions that no schedule can enter, with the reason: they are counted neither as run nor as left out."""

RARE: Final[Mapping[str, str]] = {
    "spans.Spans._split": (
        "a worker extends a part of what one receive brought only where it has let go of the rest, as when "
        "a claim ran out before a slot was free; the conformance suite does it"
    ),
    "pace.given_up": (
        "the same rows have to be turned down ten times in a row, which fewer than one call in 100,000 is at "
        "the rates of the search; tests of the ledger do it"
    ),
    "dynamodb.DynamoLedger._refused": (
        "a worker has to be denied the writing of claims, by a reply that says so of each statement: by the "
        "rates, one in forty schedules with a missing right; tests of the ledger do it"
    ),
}
"""Why some functions that schedules may enter are entered by few or none."""

Seen = set[tuple[str, int]]
"""Lines that were run, by module and number."""


class ModuleLines(msgspec.Struct, frozen=True):
    """lines: of its functions. run: how many of these were run. never: functions that were not entered."""

    module: str
    lines: int
    run: int
    never: list[str]


class PartLines(msgspec.Struct, frozen=True):
    """Lines of a part of the project, as `ModuleLines` has them of a module."""

    name: str
    lines: int
    run: int
    never: list[str]


class Coverage:
    """Counts lines while `watching`. Each module is looked at as it is when this is made.

    backends: whose data path is looked at, too.
    """

    def __init__(self, *backends: str) -> None:
        self.seen: Seen = set()
        self._codes: dict[str, dict[str, list[CodeType]]] = {}  # by part and module
        for part, package in PACKAGES.items():
            self._codes[part] = {each.__name__: list(_functions(each)) for each in _modules(package)}
        for backend in backends:
            names = [f"kon.backends.{backend}.{module}" for module in DATA_PATH.get(backend, ())]
            modules = map(importlib.import_module, names)
            self._codes[backend] = {each.__name__: list(_functions(each)) for each in modules}
        self._left: dict[CodeType, tuple[str, set[int]]] = {
            code: (module, _lines(code))
            for modules_of in self._codes.values()
            for module, codes in modules_of.items()
            for code in codes
        }

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Slows what runs within it down, until most lines have been seen."""
        before = sys.gettrace()
        sys.settrace(self._enter)
        try:
            yield
        finally:
            sys.settrace(before)

    def found(self) -> list[ModuleLines]:
        """What was run so far, by module."""
        return [
            ModuleLines(module, *self._of(module, codes))
            for modules in self._codes.values()
            for module, codes in modules.items()
            if codes
        ]

    def parts(self) -> list[PartLines]:
        """What was run so far, by part."""
        parts = []
        for name, modules in self._codes.items():
            counted = {module: self._of(module, codes) for module, codes in modules.items()}
            lines = sum(every for every, _, _ in counted.values())
            run = sum(some for _, some, _ in counted.values())
            never = [
                f"{module.rpartition('.')[2]}.{each}"
                for module, (_, _, left) in counted.items()
                for each in left
            ]
            parts.append(PartLines(name, lines, run, never))
        return parts

    def _of(self, module: str, codes: Sequence[CodeType]) -> tuple[int, int, list[str]]:
        lines = {code: _lines(code) for code in codes}
        run = {code: {line for line in every if (module, line) in self.seen} for code, every in lines.items()}
        never = [code.co_qualname for code in codes if not run[code]]
        return sum(map(len, lines.values())), sum(map(len, run.values())), never

    def _enter(self, frame: FrameType, event: str, argument: Any) -> Any:
        left = self._left.get(frame.f_code)
        # what has run in whole costs no more than this look
        return None if left is None or not left[1] else self._line(frame, event, argument)

    def _line(self, frame: FrameType, event: str, argument: Any) -> Any:
        module, left = self._left[frame.f_code]
        left.discard(frame.f_lineno)
        self.seen.add((module, frame.f_lineno))
        return self._line if left else None


def coverage_of(
    searches: Sequence[tuple[Searchable, Sequence[Cell]]], jobs: int | None = None
) -> list[PartLines]:
    """The lines that all these searches run, by part. Each of them takes one process."""
    whole = Coverage(*DATA_PATH)
    with processes(_seen_in, jobs) as run:
        for seen in run(searches):
            whole.seen |= seen
    return whole.parts()


def _seen_in(part: tuple[Searchable, Sequence[Cell]]) -> Seen:
    backend, cells = part
    measured = Coverage(backend)
    with measured.watching():
        search(cells, msgspec.structs.replace(SCENARIO, backend=backend), jobs=1)
    return measured.seen


def _modules(package: str) -> list[ModuleType]:
    path = importlib.import_module(package).__path__
    names = sorted(f"{package}.{each.name}" for each in pkgutil.iter_modules(path) if not each.ispkg)
    return [importlib.import_module(name) for name in names if name not in _LEFT_OUT]


def _functions(module: ModuleType) -> Iterator[CodeType]:
    """The code of every function and method that stands in the module's own file."""
    file = Path(module.__file__ or "")
    members = list(vars(module).values())
    for member in [*members, *(part for each in members if inspect.isclass(each) for part in _parts(each))]:
        function = inspect.unwrap(member) if callable(member) else None
        code = getattr(function, "__code__", None)
        # a body of `...` or a docstring alone is an abstract method
        if not isinstance(code, CodeType) or Path(code.co_filename) != file or len(_lines(code)) < 2:
            continue
        if f"{module.__name__.rpartition('.')[2]}.{code.co_qualname}" not in APART:
            yield code


def apart() -> dict[str, list[str]]:
    """The functions that are not counted, by reason."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in APART.items():
        by_reason.setdefault(reason, []).append(name)
    return by_reason


def _parts(cls: type) -> Iterator[Any]:
    for part in vars(cls).values():
        match part:
            case property():
                yield part.fget
            case classmethod() | staticmethod():
                yield part.__func__
            case _:
                yield part


def _lines(code: CodeType) -> set[int]:
    """Its lines, without the first, which says its name."""
    return {line for _, _, line in code.co_lines() if line is not None and line != code.co_firstlineno}
