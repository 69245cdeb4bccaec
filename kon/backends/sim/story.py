"""The story of a simulated run: a time line of two workers, the queues and the tables, for a person."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Collection, Sequence
from typing import Final

from kon.backends.sim.trace import Step, Trace, What

_QUEUES: Final = frozenset({"tasks", "answers", "dead"})
_UNTOLD: Final = frozenset({"control"})
"""Services that have no part in what happens to a task."""

_GAP_S: Final = 1.0
"""A pause that is worth a line of its own."""

_TIME_WIDTH: Final = 9

CLIENT: Final = "client"
"""The host that has no column: what happens to it is told next to the queue, which it fills and empties."""

_PLAIN: Final = frozenset({"stored", "given, receipt 1"})
"""Notes that say what always follows."""

_VERBS: Final = {
    "send": "sends",
    "receive": "receives",
    "extend": "extends",
    "ack": "acks",
    "depth": "asks how many",
    "read": "reads",
    "insert_new": "inserts",
    "replace": "replaces",
    "put": "puts",
    "delete": "deletes",
    "scan": "scans",
}
"""What a host does that calls this."""


def story(
    trace: Trace,
    hosts: tuple[str, str] | None = None,
    tasks: Collection[int] | None = None,
    width: int = 100,
) -> str:
    """Tell what happened, one step a line: each worker, queue and ledger in a column of its own.

    hosts: whose columns to show, all their lives included; None for the two that did most. What others
        asked of queue and ledger is told there, with their name. Columns that stay empty are left out.
    tasks: leave out what is not about one of these; None for all. Crashes, pauses and partitions stay.
    width: of a line, in characters.
    """
    told = [step for step in trace.steps if _is_told(step, tasks)]
    left, right = hosts or _busiest(told)
    heads = [left, "queue", "ledger", right]
    placed = [(step, column) for step in told if (column := _column(step, left, right)) is not None]
    shown = sorted({column for _, column in placed}) or [0, 1, 2, 3]
    column_width = (width - _TIME_WIDTH) // len(shown) - 3
    lines = [
        _line("time s", [heads[column] for column in shown], column_width),
        "-" * _TIME_WIDTH + ("-+-" + "-" * column_width) * len(shown),
    ]
    then_s = 0.0
    for place, (step, column) in enumerate(placed):
        if step.at_s - then_s >= _GAP_S:
            lines.append(_line("", [f"... {step.at_s - then_s:.1f} s later"], column_width))
        for row, text in enumerate(textwrap.wrap(_say(step), column_width)):
            same_time = row > 0 or (place > 0 and f"{step.at_s:.3f}" == f"{then_s:.3f}")
            cells = [text if column == each else "" for each in shown]
            lines.append(_line("" if same_time else f"{step.at_s:.3f}", cells, column_width))
        then_s = step.at_s
    return "\n".join(lines) + "\n"


def worker_of(host: str) -> str:
    """The name under which all lives of a host go: that of its first."""
    return host.partition(".")[0]


def _line(time: str, cells: Sequence[str], column_width: int) -> str:
    columns = (f" | {cell:<{column_width}}" for cell in cells)
    return f"{time:>{_TIME_WIDTH}}{''.join(columns)}".rstrip()


def _is_told(step: Step, tasks: Collection[int] | None) -> bool:
    if step.service in _UNTOLD or step.what is What.CALL:
        return False  # what comes of a call is told where it happens
    return tasks is None or not step.tasks or not set(tasks).isdisjoint(step.tasks)


def _busiest(steps: Sequence[Step]) -> tuple[str, str]:
    """The two workers with the most steps of their own, or, where there are none, of any kind."""
    own = [step.host for step in steps if step.what is What.HOST] or [step.host for step in steps]
    names = [worker_of(host) for host in own if host and worker_of(host) != CLIENT]
    by_count = sorted(set(names), key=lambda name: (-names.count(name), name))
    left, right, *_ = [*sorted(by_count[:2]), "", ""]
    return left, right


def _column(step: Step, left: str, right: str) -> int | None:
    if step.service and step.what in (What.EFFECT, What.FAULT):
        return 1 if step.service in _QUEUES else 2
    name = worker_of(step.host)
    if name == left:
        return 0
    if name == CLIENT and right != CLIENT:
        return 1
    return 3 if name == right else None


def _say(step: Step) -> str:
    tasks = _numbers(step.tasks)
    host = step.host or "scenario"
    if step.what is What.HOST:
        who = host if worker_of(host) == CLIENT else "" if host == worker_of(host) else f"({host})"
        return " ".join(filter(None, [who, step.op, tasks, step.note]))
    does = _VERBS.get(step.op, step.op)
    note = _in_short(step.note)
    if step.what is What.REPLY:
        return f"{does} {tasks}: {note}"
    if step.what is What.FAULT and not step.service:
        return f"!! {note}"
    about = " ".join(filter(None, [host, does, tasks]))
    # named where it is not the service that its column is mostly about
    service = "" if step.service in ("tasks", "ledger") else f"{step.service}: "
    if step.what is What.FAULT:
        return f"!! {service}{note} ({about})"
    return f"{service}{about}{note and ': '}{note}"


def _in_short(note: str) -> str:
    if note in _PLAIN:
        return ""
    if "no row" not in note:
        note = note.replace("refused, there is", "refused, it is")
    return note.removeprefix("given, ").removeprefix("written: ").replace("in 0.000 s", "at once")


def _numbers(tasks: Sequence[int]) -> str:
    """Task indexes, runs of them as first-last."""
    parts = []
    for _, run in itertools.groupby(enumerate(tasks), key=lambda pair: pair[1] - pair[0]):
        numbers = [index for _, index in run]
        parts.append(str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}-{numbers[-1]}")
    return f"{'task' if len(tasks) == 1 else 'tasks'} {','.join(parts)}" if parts else ""
