"""Services: the queues and tables that a scenario's hosts work with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal

from kon.backends.sim.backend import SimBackend
from kon.backends.sim.ledger import SimLedger
from kon.backends.sim.network import Network
from kon.backends.sim.queue import SimQueue
from kon.core.backend import Channel, ChannelOptions

Searchable = Literal["sim", "sqlite", "aws"]
"""Backends whose queue and ledger the search can play with."""


class Services(ABC):
    """The services of one schedule.

    away: hosts that were out of reach for a while; the scenario adds those that crash or stand still.
    expired: tasks whose message a queue deleted, as it had kept it for too long. They may be lost.
    kill: ends a host at once, by its name. The scenario sets it; services that strike hosts call it.
    """

    def __init__(self) -> None:
        self.away: set[str] = set()
        self.expired: set[int] = set()
        self.kill: Callable[[str], None] = lambda host: None

    @abstractmethod
    async def create(self, run: str, options: ChannelOptions, tasks_per_row: int) -> None:
        """Make the run's queues and tables."""

    @abstractmethod
    async def open(self, run: str, host: str) -> Channel:
        """The channel of one life of a host."""

    @abstractmethod
    async def messages_left(self, channel: Channel) -> int:
        """Messages in the task queue in truth, hidden ones included."""

    def close(self) -> None:
        """Let go of what is held. The schedule is over."""
        return


class SimServices(Services):
    """Simulated services, which all hosts share, over a network that loses and repeats."""

    def __init__(self, network: Network, fifo: bool) -> None:
        super().__init__()
        self._backend = SimBackend.on(network, fifo)
        self.away = network.away

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
