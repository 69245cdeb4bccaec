"""A backend: where a run's queues, ledger and objects live."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from kon.core.errors import ConfigurationError
from kon.core.ledger import Ledger
from kon.core.objects import ObjectStore
from kon.core.queue import Queue, QueueLimits


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
    takes: ClassVar[type[msgspec.Struct] | None] = None
    """The options: a struct whose docstring describes each (see kon.core.options). None: only the
    constructor knows them."""
    secrets: ClassVar[Sequence[str]] = ()
    """Environment variables that no task is to see; a worker forgets them once it has its backend."""
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
        """Raises OptionError for an option that it does not know or can't use."""

    @property
    def durable(self) -> bool:
        """Whether an ack outlives a power cut of this machine. Then records have to be on disk before it."""
        return False

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
        """What a provider bills of these requests, by the names that `RequestCount` has. Empty where it
        costs nothing."""
        return {}

    @property
    def operations(self) -> Mapping[tuple[str, str], int]:
        """These requests by service and operation, such as ("sqs", "ReceiveMessage"). Empty where there are
        no such."""
        return {}


def check_channel(options: ChannelOptions, limits: QueueLimits) -> None:
    """Raises ConfigurationError for options that no queue with these limits can keep."""
    if not 0 < options.visibility_s <= limits.longest_hold_s:
        raise ConfigurationError(
            f"visibility_s: expected more than 0 and up to {limits.longest_hold_s:g} seconds, "
            f"got {options.visibility_s}"
        )
    if options.max_receives < 1:
        raise ConfigurationError(f"max_receives: expected 1 or more, got {options.max_receives}")


def check_same(run: str, made: ChannelOptions, wanted: ChannelOptions) -> None:
    """Raises ConfigurationError where a run is there already, and was made otherwise."""
    if made != wanted:
        raise ConfigurationError(
            f'the run "{run}" is there already, with visibility_s {made.visibility_s:g} and max_receives '
            f"{made.max_receives}; asked for were {wanted.visibility_s:g} and {wanted.max_receives}. "
            "It is left as it is: keep its options, delete it, or choose another name"
        )


class RequestCount:
    """Requests that a backend made to its queues and ledgers, and what of them is billed.

    Each backend object has one, and everything that the backend opens counts here.


    billed: by what a provider bills: `sqs.requests` and `sqs.fifo_requests` (each 64 KiB of payload is
        one), `dynamodb.write_units`, `dynamodb.read_units`, `s3.put_requests`, `s3.get_requests`,
        `bytes_out` and `bytes_in`. Beside these `sqs.calls`, `dynamodb.calls` and `s3.calls`: what was sent
        to a service, billed or not. Empty where nothing is billed.
    operations: requests by service and operation, where there are such.
    """

    __slots__ = ("billed", "made", "operations")

    def __init__(self) -> None:
        self.made = 0
        self.billed: dict[str, float] = {}
        self.operations: dict[tuple[str, str], int] = {}

    def bill(self, what: str, amount: float) -> None:
        """Not for several threads at once: whoever has threads locks."""
        self.billed[what] = self.billed.get(what, 0.0) + amount
