"""Coverage: which lines of a task's way the search runs, and which functions it never enters."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any, Final

import msgspec

PACKAGES: Final = ("kon.engine", "kon.strategies")
"""What is looked at; what only writes records, or watches, is not a part of a task's way."""

_LEFT_OUT: Final = ("kon.engine.records", "kon.engine.watchers", "kon.engine.eventloop")


class ModuleLines(msgspec.Struct, frozen=True):
    """lines: of its functions. run: how many of these were run. never: functions that were not entered."""

    module: str
    lines: int
    run: int
    never: list[str]


class Coverage:
    """Counts lines while `watching`. Each module is looked at as it is when this is made.

    backend: another package that is looked at, by its name.
    """

    def __init__(self, backend: str | None = None) -> None:
        modules = list(_modules(PACKAGES if backend is None else (*PACKAGES, f"kon.backends.{backend}")))
        self._codes = {module.__name__: list(_functions(module)) for module in modules}
        self._files = {module.__file__ for module in modules}
        self._seen: set[tuple[CodeType, int]] = set()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Slows what runs within it down, several times."""
        before = sys.gettrace()
        sys.settrace(self._enter)
        try:
            yield
        finally:
            sys.settrace(before)

    def found(self) -> list[ModuleLines]:
        """What was run so far, by module."""
        return [self._of(module, codes) for module, codes in self._codes.items() if codes]

    def _of(self, module: str, codes: Sequence[CodeType]) -> ModuleLines:
        lines = {(code, line) for code in codes for line in _lines(code)}
        run = lines & self._seen
        entered = {code for code, _ in run}
        never = [code.co_qualname for code in codes if code not in entered]
        return ModuleLines(module, len(lines), len(run), never)

    def _enter(self, frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code.co_filename not in self._files:
            return None
        return self._line(frame, event, argument)

    def _line(self, frame: FrameType, event: str, argument: Any) -> Any:
        self._seen.add((frame.f_code, frame.f_lineno))
        return self._line


def share(found: Sequence[ModuleLines]) -> float:
    """The share of lines that were run, from 0 to 1."""
    return sum(each.run for each in found) / max(1, sum(each.lines for each in found))


def _modules(packages: Sequence[str]) -> list[ModuleType]:
    modules = []
    for package in packages:
        path = importlib.import_module(package).__path__
        names = sorted(f"{package}.{each.name}" for each in pkgutil.iter_modules(path) if not each.ispkg)
        modules += [importlib.import_module(name) for name in names if name not in _LEFT_OUT]
    return modules


def _functions(module: ModuleType) -> Iterator[CodeType]:
    """The code of every function and method that stands in the module's own file."""
    file = Path(module.__file__ or "")
    members = list(vars(module).values())
    for member in [*members, *(part for each in members if inspect.isclass(each) for part in _parts(each))]:
        function = inspect.unwrap(member) if callable(member) else None
        code = getattr(function, "__code__", None)
        # a body of `...` or a docstring alone is an abstract method
        if isinstance(code, CodeType) and Path(code.co_filename) == file and len(_lines(code)) > 1:
            yield code


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
