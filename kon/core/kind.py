"""What a task does: the abstract class of kinds. Kinds know nothing of queues."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from kon.core.objects import ObjectStore


class Attempt(msgspec.Struct, frozen=True):
    """What a kind may know of the attempt it makes."""

    run: str
    index: int
    number: int


class Kind(ABC):
    """One kind of work, made once for a worker and used for all its tasks.

    The constructor gets the workload's own options (for `shell`: command, cwd, env, ...) and from a
    worker also `slots`, how many tasks it will run at once. It raises ConfigurationError for an
    option that it does not know or can't use.
    """

    name: ClassVar[str]
    virtual_time: ClassVar[bool] = False
    """Whether it does nothing but wait, by the running loop's clock, and so may run in virtual time."""

    @abstractmethod
    def __init__(self, options: Mapping[str, Any]) -> None: ...

    @abstractmethod
    def check(self, body: Any) -> None:
        """Raise ConfigurationError when no attempt at this body could ever succeed (a wrong type, NaN)."""

    async def open(self, objects: ObjectStore) -> None:
        """Called once, before the first attempt, with the run's object store. Most kinds need none."""
        return

    def duration_s(self, body: Any) -> float | None:
        """How long the task ideally takes, when that is known beforehand; else None."""
        return None

    async def ready(self) -> None:
        """Return when the next task may start. Called before each; most kinds never wait."""
        return

    @abstractmethod
    async def execute(self, body: Any, attempt: Attempt) -> Any:
        """Do it and return a JSON value. Any exception is a failed attempt; KindError says it best.

        Must be cancellable at any await and leave no process behind: a task timeout and a hard stop
        cancel it.
        """

    def execute_now(self, bodies: Sequence[Any]) -> list[Any] | None:
        """Results for a whole batch, where each takes microseconds; None to have them run one by one.

        Only for tasks without effects: it is called on the event loop's own thread, may not wait
        or raise, and a start that a SIGKILL leaves unrecorded must be as if it had never been.
        """
        return None

    async def close(self) -> None:
        """Let go of pools and processes. Called once, after the last attempt."""
        return
