"""What `kon map` prints: the output of each task, whole, when it has ended or when it is its turn."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from typing import BinaryIO, Final

from kon.core.task import Outcome, State


class Printer:
    """Prints outcomes; each task's stdout to stdout, its stderr to stderr."""

    def __init__(self, items: Sequence[str], *, keep_order: bool, tag: bool) -> None:
        self._items = items
        self._keep_order = keep_order
        self._tag = tag
        self._early: dict[int, Outcome] = {}
        self._next = 0
        self._failures = 0

    def skip(self, outcomes: Iterable[Outcome]) -> None:
        """These were printed by the run that recorded them."""
        if self._keep_order:
            self._early.update((outcome.index, _NOTHING) for outcome in outcomes)

    def print(self, outcomes: Sequence[Outcome]) -> None:
        """Raises BrokenPipeError when nobody reads it any more."""
        out: list[bytes] = []
        for outcome in self._in_turn(outcomes) if self._keep_order else outcomes:
            out.append(self._stdout(outcome))
            err = self._stderr(outcome)
            if err:  # both may go to one terminal, where it belongs between this task and the next
                _write(sys.stdout.buffer, out)
                _write(sys.stderr.buffer, err)
                out = []
        _write(sys.stdout.buffer, out)

    def _in_turn(self, outcomes: Sequence[Outcome]) -> Iterable[Outcome]:
        self._early.update((outcome.index, outcome) for outcome in outcomes)
        while (outcome := self._early.pop(self._next, None)) is not None:
            self._next += 1
            yield outcome

    def _stdout(self, outcome: Outcome) -> bytes:
        result = outcome.result
        return self._tagged(outcome.index, result.get("stdout", "")) if isinstance(result, dict) else b""

    def _stderr(self, outcome: Outcome) -> list[bytes]:
        """What it said there itself, and what there is to say about it."""
        result, err = outcome.result, []
        if isinstance(result, dict):
            if result.get("stderr"):
                err.append(self._tagged(outcome.index, result["stderr"]))
            err += [warning.encode() for warning in _warnings(outcome.index, result)]
        if outcome.state is not State.DONE and outcome.state is not State.CANCELLED:
            self._failures += 1
            if self._failures <= MOST_TOLD:
                item = os.fsencode(self._items[outcome.index])[:_LONGEST_ITEM]
                said = (outcome.error or str(outcome.state)).encode(errors="backslashreplace")
                err.append(b"kon: task %d (%s): %s\n" % (outcome.index + 1, item, said))
        return err

    def _tagged(self, index: int, text: str) -> bytes:
        raw = text.encode()
        if not self._tag or not raw:
            return raw
        tag = os.fsencode(self._items[index]) + b"\t"
        lines = raw.split(b"\n")
        last = lines.pop()
        return b"".join(tag + line + b"\n" for line in lines) + (tag + last if last else b"")


MOST_TOLD: Final = 10
"""Failures that are told one by one; the others are counted."""

_LONGEST_ITEM: Final = 200
_NOTHING: Final = Outcome(-1, 1, State.DONE)


def _warnings(index: int, result: dict[str, object]) -> list[str]:
    found = []
    if result.get("truncated"):
        found.append("its output was longer than is kept, and the middle is left out; see --max-output")
    if result.get("encoding_errors"):
        found.append("its output was not UTF-8; other bytes stand there as \\xff. Have it write to a file")
    return [f"kon: task {index + 1}: {text}\n" for text in found]


def _write(stream: BinaryIO, parts: Sequence[bytes]) -> None:
    text = b"".join(parts)
    if text:
        stream.write(text)
        stream.flush()
