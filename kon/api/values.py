"""From outcomes to what a program wants: values, and errors for what is not done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kon.core.errors import TaskFailed
from kon.core.task import Outcome, State

_SHOWN = 5


def failure_of(outcome: Outcome) -> TaskFailed:
    """The error that stands for a task that is not done."""
    said = f": {outcome.error}" if outcome.error else ""
    return TaskFailed(
        f"task {outcome.index} {_ENDED[outcome.state]}{said}",
        index=outcome.index,
        state=outcome.state,
        result=outcome.result,
    )


def raise_failures(run: str, values: Sequence[Any], records: str) -> None:
    """Raise TaskFailed when any value is one, naming the first; all are in its `failures`."""
    failures = [value for value in values if type(value) is TaskFailed]
    if not failures:
        return
    first = failures[0]
    others = ", ".join(str(each.index) for each in failures[1 : _SHOWN + 1])
    more = f" (the others: {others}{', ...' if len(failures) > _SHOWN + 1 else ''})" if others else ""
    error = TaskFailed(
        f"{len(failures)} of {len(values)} tasks of run {run} are not done{more}; "
        f"the first: {first}{records}",
        index=first.index,
        state=first.state,
        result=first.result,
        failures=failures,
    )
    if isinstance(first.result, dict) and "traceback" in first.result:
        error.add_note(f"In the worker:\n{first.result['traceback']}")
    raise error


_ENDED = {
    State.FAILED: "failed",
    State.DEAD: "is dead",
    State.LOST: "is lost",
    State.CANCELLED: "was cancelled",
}
