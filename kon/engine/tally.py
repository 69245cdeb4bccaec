"""The tally: which tasks of a run are accounted for, and how."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from kon.core.task import Outcome, State

_DONE: Final = State.DONE  # Python 3.11 takes longer to find a member in its class than for all else here
_CODES: Final = {
    state: code
    for code, state in enumerate((State.DONE, State.FAILED, State.DEAD, State.LOST, State.CANCELLED), start=1)
}
_BY_CODE: Final = {code: state for state, code in _CODES.items()}
_ANSWERED: Final = frozenset({State.DONE, State.FAILED})


class Tally:
    """Which tasks are accounted for, and how. One byte a task, so that ten million fit easily."""

    def __init__(self, tasks: int) -> None:
        self.tasks = tasks
        self.counts: dict[State, int] = dict.fromkeys(_CODES, 0)
        self.repeated_answers = 0
        self._codes = bytearray(tasks)
        self._left = tasks

    @property
    def left(self) -> int:
        """Tasks not accounted for."""
        return self._left

    def count(self, outcomes: list[Outcome]) -> list[Outcome]:
        """Count outcomes; those that were news are returned. The first to come stands, but a task that
        was taken for dead or lost may still turn out done or failed."""
        if self._all_done_in_a_row(outcomes):
            return outcomes
        codes, news = self._codes, []
        for outcome in outcomes:
            index = outcome.index
            if not codes[index]:
                self._left -= 1
            elif outcome.state in _ANSWERED and _BY_CODE[codes[index]] not in _ANSWERED:
                self.counts[_BY_CODE[codes[index]]] -= 1
            else:
                self.repeated_answers += 1
                continue
            codes[index] = _CODES[outcome.state]
            self.counts[outcome.state] += 1
            news.append(outcome)
        return news

    def _all_done_in_a_row(self, outcomes: list[Outcome]) -> bool:
        """Count, at the speed of a slice, what most packets are: neighbours, all done, all news."""
        count = len(outcomes)
        if count < 2 or [o for o in outcomes if o.state is not _DONE]:
            return False
        first = outcomes[0].index
        upto = first + count
        if [o.index for o in outcomes] != list(range(first, upto)) or any(self._codes[first:upto]):
            return False
        self._codes[first:upto] = bytes([_CODES[State.DONE]]) * count
        self._left -= count
        self.counts[State.DONE] += count
        return True

    def close(self, tasks: int) -> None:
        """There are that many tasks, and no more: of a run whose number of tasks was not known."""
        self._left -= self.tasks - tasks
        self.tasks = tasks

    def unaccounted(self) -> Iterator[int]:
        """The indexes of tasks without an outcome."""
        at = self._codes.find(0, 0, self.tasks)
        while at >= 0:
            yield at
            at = self._codes.find(0, at + 1, self.tasks)

    def state_of(self, index: int) -> State | None:
        return _BY_CODE.get(self._codes[index])
