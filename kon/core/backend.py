"""A backend: where a run's queues, ledger and objects live."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec

from kon.core.ledger import Ledger
from kon.core.objects import ObjectStore
from kon.core.queue import Queue


class Channel(msgspec.Struct, frozen=True):
    """Everything that client and workers of one run share.

    tasks: what is to be done; a message received too often goes on to `dead`.
    answers: outcomes on their way to the client.
    ledger: the strategy's table, by task.
    control: a second small table, for the run's own state and its workers (see kon.engine.control).
    """

    tasks: Queue
    answers: Queue
    dead: Queue
    ledger: Ledger
    control: Ledger
    objects: ObjectStore


class ChannelOptions(msgspec.Struct, frozen=True):
    """How a run's channel is made.

    visibility_s: how long a received message stays hidden, in seconds.
    max_receives: deliveries of one message before it goes to the dead-letter queue.
    """

    visibility_s: float = 30.0
    max_receives: int = 5


class Backend(ABC):
    """Makes, opens and deletes the channels of runs."""

    name: ClassVar[str]
    processes: ClassVar[bool] = True
    """Whether workers may be processes of their own; else they share the client's loop."""
    keeps_files: ClassVar[bool] = False
    """Whether it keeps files on this machine: then its option `path` is the folder of the runs' folders."""
    rows_cost: ClassVar[bool] = False
    """Whether each row that is written is paid for, in money or in time, so that a bundle's tasks had
    better share one (see kon.engine.paged_ledger)."""
    virtual_time: ClassVar[bool] = False
    """Whether its runs are simulated, in virtual time: then its option `latency` may name a model's file."""

    @abstractmethod
    def __init__(self, options: Mapping[str, Any]) -> None:
        """Raises ConfigurationError for an option that it does not know or can't use."""

    @property
    def fifo(self) -> bool:
        """Whether its queue of tasks drops repeated sends (see `QueueLimits.fifo`)."""
        return False

    @abstractmethod
    async def create(self, run: str, options: ChannelOptions) -> None:
        """Make the run's queues and tables. Does nothing where they are there with these options."""

    @abstractmethod
    async def open(self, run: str) -> Channel:
        """Open what `create` made. Raises StoreError when it is not there or can't be used."""

    @abstractmethod
    async def delete(self, run: str, keep_objects: bool = False) -> None:
        """Delete all that belongs to the run. Does nothing where there is nothing.

        keep_objects: but for what its kind has stored, which outlives the run like its results.
        """

    @abstractmethod
    async def close(self) -> None:
        """Let go of connections and threads."""

    @property
    @abstractmethod
    def requests(self) -> int:
        """Requests made to queue and ledger by this process so far, retries included."""

    @property
    def billed(self) -> Mapping[str, float]:
        """Of these requests, what a provider bills, by the names that `RequestCount` has. Empty where it
        costs nothing."""
        return {}

    @property
    def operations(self) -> Mapping[tuple[str, str], int]:
        """These requests by service and operation, such as ("sqs", "ReceiveMessage"). Empty where there are
        no such."""
        return {}
