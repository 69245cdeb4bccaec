"""What a worker holds: deliveries it has not acked, and the tasks in them."""

from __future__ import annotations

from collections.abc import Iterable

from kon.dedup import Claim
from kon.queue import Delivery, Message
from kon.task import Outcome, Task


class Held:
    """A delivery, from its receipt until its last task is settled."""

    __slots__ = ("abandoned", "delivery", "jobs", "open", "receives")

    def __init__(self, delivery: Delivery, tasks: int, receives: int) -> None:
        self.delivery = delivery
        self.receives = receives  # in all messages that carried these tasks
        self.open = tasks  # not settled yet
        self.jobs: list[Job] = []  # those that may run
        self.abandoned = False  # a task of it must come again, so the message is left to its timeout


class Job:
    """A task on its way through this worker."""

    __slots__ = ("claim", "follow_up", "held", "outcome", "runs", "task")

    def __init__(self, held: Held, claim: Claim, runs: bool = True) -> None:
        self.held = held
        self.task: Task = claim.task
        self.claim = claim
        self.runs = runs  # False: it was turned away, and there is only something to answer or to send
        self.outcome: Outcome | None = None  # what there is to answer
        self.follow_up: Message | None = None  # what is to be sent in the message's place


class Holding:
    """All that a worker holds, for its heartbeat."""

    def __init__(self) -> None:
        self.deliveries: set[Held] = set()

    def open_jobs(self) -> list[Job]:
        """Jobs that may run and have not ended: those whose claims must be kept alive."""
        return [job for held in self.deliveries for job in held.jobs if job.outcome is None]

    def settle(self, jobs: Iterable[Job]) -> list[Held]:
        """Count jobs off their deliveries. Those with none left are held no longer, and returned."""
        ended = []
        for job in jobs:
            held = job.held
            held.open -= 1
            if not held.open:
                self.deliveries.discard(held)
                ended.append(held)
        return ended
