"""The story of a simulated run: a time line of two workers, the queues and the tables, for a person."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Collection, Sequence
from typing import Final

from kon.sim.trace import Step, Trace, What

_QUEUES: Final = frozenset({"tasks", "answers", "dead"})
_UNTOLD: Final = frozenset({"control"})
"""Services that have no part in what happens to a task."""

_GAP_S: Final = 1.0
"""A pause that is worth a line of its own."""

_TIME_WIDTH: Final = 10


def story(
    trace: Trace,
    hosts: tuple[str, str] | None = None,
    tasks: Collection[int] | None = None,
    width: int = 120,
) -> str:
    """Tell what happened, one step a line: each worker, queue and ledger in a column of its own.

    hosts: whose columns to show; None for the two that did most. What others asked of queue and
        ledger is told there, with their name.
    tasks: leave out what is not about one of these; None for all. Crashes, pauses and partitions stay.
    width: of a line, in characters.
    """
    told = [step for step in trace.steps if _is_told(step, tasks)]
    left, right = hosts or _busiest(told)
    column_width = (width - _TIME_WIDTH) // 4 - 3
    heads = [left, "queue", "ledger", right]
    lines = [_line("time s", heads, column_width), "-" * _TIME_WIDTH + ("-+-" + "-" * column_width) * 4]
    then_s = 0.0
    for step in told:
        column = _column(step, left, right)
        if column is None:
            continue
        if step.at_s - then_s >= _GAP_S:
            lines.append(_line("", [f"... {step.at_s - then_s:.1f} s later", "", "", ""], column_width))
        then_s = step.at_s
        cells: list[list[str]] = [[], [], [], []]
        cells[column] = textwrap.wrap(_say(step), column_width) or [""]
        for row, texts in enumerate(itertools.zip_longest(*cells, fillvalue="")):
            lines.append(_line("" if row else f"{step.at_s:.3f}", texts, column_width))
    return "\n".join(lines) + "\n"


def _line(time: str, cells: Sequence[str], column_width: int) -> str:
    columns = (f" | {cell:<{column_width}}" for cell in cells)
    return f"{time:>{_TIME_WIDTH}}{''.join(columns)}".rstrip()


def _is_told(step: Step, tasks: Collection[int] | None) -> bool:
    if step.service in _UNTOLD:
        return False
    if step.what is What.CALL and not step.tasks:
        return False  # a receive or a depth: what comes of it is told where it happens
    return tasks is None or not step.tasks or not set(tasks).isdisjoint(step.tasks)


def _busiest(steps: Sequence[Step]) -> tuple[str, str]:
    """The two hosts with the most steps of their own, or, where there are none, of any kind."""
    own = [step.host for step in steps if step.what is What.HOST] or [step.host for step in steps]
    by_count = sorted(set(own) - {""}, key=lambda host: (-own.count(host), host))
    left, right, *_ = [*sorted(by_count[:2]), "", ""]
    return left, right


def _column(step: Step, left: str, right: str) -> int | None:
    at_service = step.service and step.what in (What.EFFECT, What.FAULT)
    if at_service:
        return 1 if step.service in _QUEUES else 2
    if step.host == left:
        return 0
    return 3 if step.host == right else None


def _say(step: Step) -> str:
    tasks = _numbers(step.tasks)
    if step.what is What.HOST:
        return " ".join(filter(None, [step.op, tasks, step.note]))
    if step.what is What.CALL:
        return f"{_service(step)}{step.op} {tasks} ->"
    if step.what is What.REPLY:
        return f"<- {step.op} {tasks}: {step.note}"
    about = f"{_service(step)}{step.op}{' ' + tasks if tasks else ''}, {step.host or 'scenario'}: {step.note}"
    return f"!! {about}" if step.what is What.FAULT else about


def _service(step: Step) -> str:
    """Named where it is not the one that its column is mostly about."""
    return "" if step.service in ("", "tasks", "ledger") else f"{step.service}: "


def _numbers(tasks: Sequence[int]) -> str:
    """Task indexes, runs of them as first-last."""
    parts = []
    for _, run in itertools.groupby(enumerate(tasks), key=lambda pair: pair[1] - pair[0]):
        numbers = [index for _, index in run]
        parts.append(str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}-{numbers[-1]}")
    return ",".join(parts)
