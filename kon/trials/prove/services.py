"""Services: the queues and tables that a scenario's hosts work with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import ClassVar, Final, Literal

import msgspec

from kon.backends.sim.backend import SimBackend, SimQueue
from kon.backends.sim.ledger import SimLedger
from kon.backends.sim.network import Denial, Network
from kon.core.backend import Channel, ChannelOptions

Searchable = Literal["sim", "sqlite", "aws"]
"""Backends whose queue and ledger the search can play with."""


class Right(msgspec.Struct, frozen=True):
    """A right that a role may be without: to make any of these calls. of: see `Denial`."""

    service: str
    calls: tuple[str, ...]
    of: str = ""


SIM_RIGHTS: Final = {
    "w": (
        Right("tasks", ("receive",)),
        Right("tasks", ("extend",)),
        Right("tasks", ("ack",)),
        Right("tasks", ("send",)),
        Right("answers", ("send",)),
        Right("ledger", ("insert_new", "put")),
        Right("ledger", ("replace",)),
        Right("ledger", ("read",)),
        Right("control", ("read",)),
        Right("objects", ("put",)),
    ),
    "client": (Right("tasks", ("send",)), Right("answers", ("receive",)), Right("control", ("read",))),
}
"""All but to write into the table of the run's own state: what a worker was denied is said there."""


class Services(ABC):
    """The services of one schedule.

    away: hosts that were out of reach for a while; the scenario adds those that crash or stand still.
    expired: tasks whose message a queue deleted, as it had kept it for too long. They may be lost.
    kill: ends a host at once, by its name. The scenario sets it; services that strike hosts call it.
    denials: what hosts may not do for now. rights: what they may be denied, by what their names begin with.
    """

    rights: ClassVar[Mapping[str, Sequence[Right]]] = {}

    def __init__(self) -> None:
        self.away: set[str] = set()
        self.expired: set[int] = set()
        self.kill: Callable[[str], None] = lambda host: None
        self.denials: list[Denial] = []

    @abstractmethod
    async def create(self, run: str, options: ChannelOptions, tasks_per_row: int) -> None:
        """Make the run's queues and tables."""

    @abstractmethod
    async def open(self, run: str, host: str) -> Channel:
        """The channel of one life of a host."""

    def leave(self, host: str) -> Coroutine[None, None, None] | None:
        """What a process does with its backend at its own end; None where that is nothing."""
        return None

    @abstractmethod
    async def messages_left(self, channel: Channel) -> int:
        """Messages in the task queue in truth, hidden ones included."""

    def close(self) -> None:
        """Let go of what is held. The schedule is over."""
        return


class SimServices(Services):
    """Simulated services, which all hosts share, over a network that loses and repeats."""

    rights = SIM_RIGHTS

    def __init__(self, network: Network, fifo: bool) -> None:
        super().__init__()
        self._backend = SimBackend.on(network, fifo)
        self.away = network.away
        self.denials = network.denials

    async def create(self, run: str, options: ChannelOptions, tasks_per_row: int) -> None:
        await self._backend.create(run, options)
        ledger = (await self._backend.open(run)).ledger
        assert isinstance(ledger, SimLedger), "whose trace names tasks"
        ledger.tasks_per_row = tasks_per_row

    async def open(self, run: str, host: str) -> Channel:
        return await self._backend.open(run)

    async def messages_left(self, channel: Channel) -> int:
        tasks = channel.tasks
        assert isinstance(tasks, SimQueue), "only a simulated queue tells its true depth"
        return tasks.messages.true_depth().total
