"""What is kept of a run's ends in bounded memory: how many came when, and the latest that went wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from kon.core.task import State
from kon.report.read.lines import Ended

BINS: Final = 240
"""Points of the line of throughput over time, at most."""

FIRST_BIN_S: Final = 0.25

RECENT_S: Final = 60.0
"""Remembered at full resolution."""

WINDOW_S: Final = 10.0
"""What "lately" means, in seconds; longer, up to all that is remembered, where fewer than `ENOUGH` ended."""

ENOUGH: Final = 10

MOST: Final = 100
"""Failures that are kept; `kon results RUN --failed` has them all."""

MOST_TEXT: Final = 2_000
"""Characters of an output that are kept: the last ones, as errors stand at the end."""

RETRY: Final = "retry"
"""The state of a task that failed and is to be tried again."""


class Ends:
    """Tasks by the time of their end, in equal bins that double in width whenever they would be too many.

    began_s: where the first bin begins, in seconds since the epoch.
    """

    def __init__(self, began_s: float) -> None:
        self.began_s = began_s
        self.bins: list[int] = []
        self._width = 1  # of a bin, in the first ones
        self._recent: dict[int, int] = {}
        self._latest = 0

    @property
    def bin_s(self) -> float:
        return self._width * FIRST_BIN_S

    def add(self, ended_s: Sequence[float]) -> None:
        """The ends of some tasks, in seconds since the epoch."""
        began_s = self.began_s
        for slot, tasks in Counter([int((each - began_s) / FIRST_BIN_S) for each in ended_s]).items():
            self._add(max(0, slot), tasks)

    def _add(self, slot: int, tasks: int) -> None:
        while slot // self._width >= BINS:
            self.bins = [sum(self.bins[n : n + 2]) for n in range(0, len(self.bins), 2)]
            self._width *= 2
        at = slot // self._width
        if at >= len(self.bins):
            self.bins.extend([0] * (at + 1 - len(self.bins)))
        self.bins[at] += tasks
        self._recent[slot] = self._recent.get(slot, 0) + tasks
        if slot > self._latest:
            self._latest = slot
            oldest = slot - RECENT_S / FIRST_BIN_S
            if len(self._recent) > 2 * RECENT_S / FIRST_BIN_S:
                self._recent = {each: count for each, count in self._recent.items() if each >= oldest}

    def per_s(self, now_s: float) -> float:
        """Tasks a second, lately."""
        ended, window_s = 0, RECENT_S
        passed_s = now_s - self.began_s
        for slot in sorted(self._recent, reverse=True):
            ago_s = passed_s - slot * FIRST_BIN_S
            if ago_s > WINDOW_S and ended >= ENOUGH:
                break
            if 0 <= ago_s <= RECENT_S:
                ended, window_s = ended + self._recent[slot], max(ago_s, WINDOW_S)
        if ended < ENOUGH:
            window_s = RECENT_S
        window_s = min(window_s, passed_s)
        return ended / window_s if window_s > 0 else 0.0


class Failure(msgspec.Struct, frozen=True):
    """state: `failed`, `dead`, `lost`, `cancelled`, or `retry`. at_s: seconds since the epoch; 0 if unknown.

    output: what it left behind, by name: stdout and stderr of a command, a traceback.
    """

    task: int
    attempt: int
    state: str
    worker: str
    error: str
    output: dict[str, str]
    at_s: float


class Failures:
    """The latest tasks that did not end well, in order of their coming; what they left is read when it is
    shown."""

    def __init__(self) -> None:
        self._kept: dict[int, tuple[Failure, bytes]] = {}

    def add(self, failure: Failure, result: bytes = b"null") -> None:
        """result: what the task left behind, as JSON."""
        self._kept.pop(failure.task, None)
        self._kept[failure.task] = (failure, result)
        if len(self._kept) > MOST:
            del self._kept[next(iter(self._kept))]

    def end(self, worker: str, outcome: Ended) -> None:
        """A task has ended: badly, or well after all."""
        if outcome.state is State.DONE:
            self._kept.pop(outcome.index, None)
            return
        task, attempt, state, error = outcome.index, outcome.attempt, outcome.state.value, outcome.error or ""
        # the result is copied, or it would keep the whole block of lines that it stands in
        self.add(Failure(task, attempt, state, worker, error, {}, outcome.ended_s), bytes(outcome.result))

    def __bool__(self) -> bool:
        return bool(self._kept)

    def newest_first(self) -> list[Failure]:
        return [
            msgspec.structs.replace(failure, output=_output(msgspec.json.decode(left)))
            for failure, left in reversed(self._kept.values())
        ]


class Recent:
    """What viewers of a run that goes on are shown of its ends. ends: None before the first of them."""

    def __init__(self) -> None:
        self.ends: Ends | None = None
        self.failures = Failures()

    def add_ends(self, ended_s: Sequence[float], began_s: float) -> None:
        """The ends of some tasks; the first of all say when the run began. In seconds since the epoch."""
        if self.ends is None:
            self.ends = Ends(began_s)
        self.ends.add(ended_s)


def _output(result: Any) -> dict[str, str]:
    """What a failed attempt left behind, as texts that fit a page; what it complained of first."""
    if result is None:
        return {}
    if not isinstance(result, dict):
        text = result if isinstance(result, str) else msgspec.json.encode(result).decode()
        return {"result": _end_of(text)}
    texts = {str(name): _end_of(text) for name, text in result.items() if isinstance(text, str) and text}
    return {name: texts[name] for name in sorted(texts, key=lambda name: name != "stderr")}


def _end_of(text: str) -> str:
    return text if len(text) <= MOST_TEXT else f"... ({len(text):,} characters) {text[-MOST_TEXT:]}"
