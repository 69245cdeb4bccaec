"""The trace: every call, effect, reply and fault of a simulated run, in order.

It costs one test for each call while it is off. From it come the digest that shows two runs to be
the same, and the story (see `kon.backends.sim.story`) that a person reads.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Sequence

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
