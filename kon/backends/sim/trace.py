"""The trace: every call, effect, reply and fault of a simulated run, in order.

It costs one test for each call while it is off. From it come the digest that shows two runs to be
the same, and the story that a person reads: a time line of two workers, the queues and the tables.
"""

from __future__ import annotations

import enum
import hashlib
import itertools
import textwrap
from collections.abc import Collection, Sequence
from typing import Final

import msgspec

from kon.core.errors import CodecError
from kon.core.task import decode_answers, decode_bundle


class What(enum.StrEnum):
    """What a step of the trace is."""

    CALL = "call"  # a host asks a service
    EFFECT = "effect"  # the service acts on it
    REPLY = "reply"  # the host learns what came of it
    FAULT = "fault"  # something goes wrong that the service or the network is documented to do
    HOST = "host"  # something happens on a host: a task starts, the host crashes


class Step(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One thing that happened.

    at_s: virtual seconds since the simulation began.
    host: who asked, or where it happened. service: who was asked; empty for a HOST step.
    op: the call, or the event. tasks: the indexes of the tasks it is about, if it is about any.
    """

    at_s: float
    what: What
    host: str
    service: str
    op: str
    tasks: tuple[int, ...] = ()
    note: str = ""


class Trace:
    """Collects steps in memory."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def add(
        self,
        at_s: float,
        what: What,
        host: str,
        service: str,
        op: str,
        tasks: Sequence[int] = (),
        note: str = "",
    ) -> None:
        self.steps.append(Step(at_s, what, host, service, op, tuple(tasks), note))

    def digest(self) -> str:
        """Equal for two runs in which the same things happened in the same order."""
        return hashlib.sha256(msgspec.json.encode(self.steps)).hexdigest()[:16]


def tasks_of(body: bytes) -> tuple[int, ...]:
    """The indexes of the tasks that a message is about; none for a body that is not kon's."""
    try:
        return tuple(task.index for task in decode_bundle(body).tasks)
    except CodecError:
        pass
    try:
        return tuple(outcome.index for outcome in decode_answers(body).outcomes)
    except CodecError:
        return ()


_QUEUES: Final = frozenset({"tasks", "answers", "dead"})
_UNTOLD: Final = frozenset({"control"})
"""Services that have no part in what happens to a task."""

_GAP_S: Final = 1.0
"""A pause that is worth a line of its own."""

_TIME_WIDTH: Final = 9
_LEAST_COLUMN: Final = 8

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
    width: of a line, in characters; lines are longer where a column would have fewer than 8.
    """
    told = [step for step in trace.steps if _is_told(step, tasks)]
    left, right = hosts or _busiest(told)
    heads = [left, "queue", "ledger", right]
    placed = [(step, column) for step in told if (column := _column(step, left, right)) is not None]
    shown = sorted({column for _, column in placed}) or [0, 1, 2, 3]
    column_width = max((width - _TIME_WIDTH) // len(shown) - 3, _LEAST_COLUMN)
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
