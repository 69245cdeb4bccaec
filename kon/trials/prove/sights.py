"""Sights: what a schedule came by that others may not have, so that a search can tell what is worth varying.

A sight is cheap to note and says little by itself: a fault together with where it struck, or three things in
a row that happened to one task. Who did them matters only as far as it is the same host or another.
"""

from __future__ import annotations

import sys
from collections.abc import Hashable, Sequence
from types import FrameType
from typing import Any, Final

_DEPTH: Final = 12
"""Frames between a fault of a call and the line of the engine that made it, at the most."""

_ENGINE: Final = ("/kon/engine/", "/kon/strategies/")

_PASSED_THROUGH: Final = "/kon/engine/patience.py"
"""By every call, whoever makes it."""


class Sights:
    """The sights of one schedule."""

    def __init__(self) -> None:
        self.seen: set[Hashable] = set()
        self._before: dict[int, tuple[str, str]] = {}  # by task: the two last things that happened to it
        self._host: dict[int, str] = {}  # by task: who did the last of them
        self._last = ""  # thing that happened to any task

    def happened(self, what: str, task: int, host: str) -> None:
        """Something happened to a task, by a host."""
        one, two = self._before.get(task, ("", ""))
        if self._host.get(task, host) != host:
            what = f"{what} elsewhere"
        self.seen.add((one, two, what))
        self._before[task] = (two, what)
        self._host[task] = host
        self._last = what

    def fired(self, fault: str, service: str) -> None:
        """A fault fired: on the way of a call, or at the service."""
        self.seen.add((fault, service, _asker(sys._getframe(2)), self._last))

    def struck(self, how: str, waiting: Sequence[Any]) -> None:
        """A host was struck while these coroutines of it waited."""
        self.seen.update((how, _waits_at(each)) for each in waiting)


def _asker(frame: FrameType | None) -> tuple[str, int]:
    """The line of the engine or of a strategy that makes the call under way; none at a service."""
    for _ in range(_DEPTH):
        if frame is None:
            break
        if _is_engine(frame):
            return frame.f_code.co_filename, frame.f_lineno
        frame = frame.f_back
    return "", 0


def _waits_at(coroutine: Any) -> tuple[str, int]:
    """The innermost line of the engine or of a strategy at which a coroutine waits."""
    place = ("", 0)
    while (frame := getattr(coroutine, "cr_frame", None)) is not None:
        if _is_engine(frame):
            place = frame.f_code.co_filename, frame.f_lineno
        coroutine = coroutine.cr_await
    return place


def _is_engine(frame: FrameType) -> bool:
    name = frame.f_code.co_filename
    return any(part in name for part in _ENGINE) and not name.endswith(_PASSED_THROUGH)
