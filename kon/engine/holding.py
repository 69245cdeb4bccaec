"""Holding: deliveries that a worker has not acked, and the tasks in them."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Iterable

import msgspec

from kon.core.queue import Delivery, Message
from kon.core.strategy import Claim
from kon.core.task import Bundle, Outcome, Task


def heartbeat_s(visibility_s: float, lease_s: float | None) -> float:
    """How often a worker renews what it holds, in seconds: two beats may fail before anything runs out."""
    return min(visibility_s, math.inf if lease_s is None else lease_s) / 3


class Held:
    """A delivery, from its receipt until its last task is settled."""

    __slots__ = ("abandoned", "bundle", "delivery", "extended_s", "jobs", "open", "receives")

    def __init__(self, delivery: Delivery, bundle: Bundle, receives: int) -> None:
        self.delivery = delivery
        self.bundle = bundle
        self.receives = receives  # in all messages that carried these tasks
        self.open = len(bundle.tasks)  # not settled yet
        self.jobs: list[Job] = []
        self.extended_s = 0.0  # for how long heartbeats have kept it
        self.abandoned = False  # a task of it must come again, so the message is left to its timeout

    def forget(self) -> None:
        """Let go of the jobs, once nobody asks for them any more."""
        self.jobs.clear()


class Job(msgspec.Struct, eq=False, gc=False):
    """A task on its way through this worker.

    Not tracked by the garbage collector: a million of them would be most of its work: the
    circle through `Held.jobs` is cut by `Held.forget` when the delivery is done with.

    is_claimed: False for one that was received, and not claimed yet.
    runs: False for one that was turned away, and has only something to answer or to send.
    outcome: what there is to answer. follow_up: what is to be sent in the message's place.
    """

    held: Held
    claim: Claim
    task: Task
    runs: bool = True
    outcome: Outcome | None = None
    follow_up: Message | None = None
    is_claimed: bool = True


class Holding:
    """Everything that a worker holds.

    deliveries: received and not acked; the heartbeat keeps them. In the order of their receipt.
    parked: tasks of these that are not claimed yet, each with its delivery.
    claims: held while claims are renewed or released. A claim that is released during its renewal would
        stand renewed, and keep other workers from its task until it runs out.
    """

    def __init__(self) -> None:
        self.deliveries: dict[Held, None] = {}  # a set's order would be chance
        self.parked: deque[tuple[Held, Task]] = deque()
        self.claims = asyncio.Lock()

    def open_jobs(self) -> list[Job]:
        """Jobs that may run and have not ended: those whose claims must be kept alive."""
        return [job for held in self.deliveries for job in held.jobs if job.runs and job.outcome is None]

    def settle(self, jobs: Iterable[Job]) -> list[Held]:
        """Count jobs off their deliveries. Those with none left are held no longer, and returned."""
        ended = []
        for job in jobs:
            held = job.held
            held.open -= 1
            if not held.open:
                self.deliveries.pop(held, None)
                ended.append(held)
        return ended
