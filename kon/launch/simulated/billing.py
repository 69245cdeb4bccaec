"""What simulated requests would be billed as, by the names that a real backend has (`RequestCount`)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Final

from kon.backends.sim.fleet import STALE_READ_UNITS
from kon.core.spec import RunSpec
from kon.core.task import Bundle, Task, encode

_WRITES: Final = frozenset({"insert_new", "replace", "put", "delete"})


def billed(
    calls: Mapping[str, float],
    items: Mapping[str, float],
    *,
    message_bytes: float,
    request_bytes: int,
    fifo: bool,
) -> dict[str, float]:
    """calls, items: by service and call, such as "tasks queue.send"; they need not be whole.

    message_bytes: of all messages of the task queue together. request_bytes: what one request may carry.
    fifo: whether the task queue is one; that of the answers never is.
    """
    units: defaultdict[str, float] = defaultdict(float)
    for name in {**items, **calls}:
        count = calls.get(name, 0.0)
        service, _, call = name.partition(" ")
        kind, _, op = call.partition(".")
        if kind == "queue":
            carries = service == "tasks" and op in ("send", "receive")
            of = "sqs.requests" if service == "answers" or not fifo else "sqs.fifo_requests"
            units[of] += max(count, message_bytes / request_bytes if carries else 0.0)
            units["sqs.calls"] += count
        elif kind == "ledger":
            written = op in _WRITES
            amount = items.get(name, 0.0) * (1.0 if written else STALE_READ_UNITS)
            units["dynamodb.write_units" if written else "dynamodb.read_units"] += amount
            units["dynamodb.calls"] += count
        elif op != "url":  # which is signed on the host
            units["s3.put_requests" if op == "put" else "s3.get_requests"] += count
            units["s3.calls"] += count
    return dict(units)


def messages_of(spec: RunSpec, items: Mapping[str, float]) -> float:
    """How many messages of the task queue carried the run's tasks. items: as in `billed`."""
    return spec.tasks / spec.bundle if spec.bundle else max(1.0, items.get("tasks queue.send", 0.0))


def message_bytes(spec: RunSpec, body_bytes: float, tasks: float) -> float:
    """The size of a message of the task queue, with that many tasks whose bodies have this size."""
    task_bytes = (
        len(encode(Bundle("", [Task(spec.tasks)]))) - len(encode(Bundle("", []))) - len("null") + len(",")
    )
    return len(encode(Bundle(spec.run, []))) + tasks * (task_bytes + body_bytes)
