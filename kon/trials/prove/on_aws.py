"""The backend `aws` under the search: its own queue, ledgers and lean client, against a model of Amazon."""

from __future__ import annotations

import random
from collections.abc import Coroutine
from typing import Any, Final

from kon.backends.aws.backend import AwsBackend
from kon.backends.aws.options import Names
from kon.backends.aws.queue import CALL_BYTES
from kon.backends.aws.resources import RunPlace
from kon.backends.sim.faults import FaultRates
from kon.backends.sim.network import Network
from kon.core.backend import Channel, ChannelOptions
from kon.trials.prove.amazon.service import BUCKET, QUEUES, TABLE, Amazon, queue_url
from kon.trials.prove.amazon.wire import ModelCalls
from kon.trials.prove.services import Right, Services


class AwsRates(FaultRates, frozen=True, forbid_unknown_fields=True):
    """The chance of each fault of a machine, a network and a service, and of those that only HTTP tells."""

    request_lost: float = 0.0
    """A request does not arrive: the connection ends, or nothing is heard for as long as a client waits."""
    reply_lost: float = 0.0
    """A request takes effect, and its reply is lost."""
    reply_damaged: float = 0.0
    """A reply is cut short, has a wrong checksum, or is a web page."""
    hung_up: float = 0.0
    """A kept connection has ended by the time of its next request."""
    call_throttled: float = 0.0
    """A whole call is turned down for now."""
    call_failed: float = 0.0
    """A call fails inside the service, before its effect or after it: 500, or 503 of a server in front."""
    item_failed: float = 0.0
    """One item of a batch fails inside the service, before its effect or after it; others go through."""
    transaction_conflict: float = 0.0
    """A write meets another of the same row under way."""
    item_left_out: float = 0.0
    """The answer to a condition that failed leaves out what stands there."""
    over_limit: float = 0.0
    """The limit of messages in flight is near: receives that do not wait are refused."""
    hold_cap: float = 0.0
    """The limit of what one receipt may be extended to in all is near."""
    retention: float = 0.0
    """The time after which a queue deletes a message is near. What it deleted may be lost."""


AMAZON_FAULTS: Final = (
    "duplicate",
    "answer_duplicate",
    "resurrect",
    "delay",
    "reorder",
    "receive_lost",
    "handle_expired",
    "stale_ack_deletes",
    "stale_ack_agrees",
    "stale_depth",
    "depth_low",
    "receive_missed",
    "stale_read",
    "throttle",
    "request_lost",
    "reply_lost",
    "reply_damaged",
    "hung_up",
    "call_throttled",
    "call_failed",
    "item_failed",
    "transaction_conflict",
    "item_left_out",
    "over_limit",
    "hold_cap",
    "retention",
    "partition",
    "denied",
    "denied_for_good",
    "crash",
    "pause",
    "skew",
    "client_crash",
    "client_pause",
    "second_client",
    "stop",
    "late",
    "cancel",
)
"""Faults that the search has for the backend aws."""

RATES: Final = {
    "request_lost": (0.1, 0.01),
    "reply_lost": (0.15, 0.02),
    "reply_damaged": (0.15, 0.02),
    "hung_up": (0.3, 0.05),
    "call_throttled": (0.3, 0.03),
    "call_failed": (0.2, 0.03),
    "item_failed": (0.3, 0.05),
    "transaction_conflict": (0.3, 0.05),
    "item_left_out": (0.5, 0.2),
    "over_limit": (1.0, 0.1),
    "hold_cap": (1.0, 0.1),
    "retention": (1.0, 0.02),
}
"""Rates, as those in `classes`."""


SMALL_BYTES: Final = (CALL_BYTES, CALL_BYTES, CALL_BYTES, CALL_BYTES, CALL_BYTES, 120, 400)
"""Sizes over which a body goes into an object, as seeds have them: Amazon's, and sizes of bundles here."""

_RIGHTS: Final = {
    "w": (
        Right("tasks", ("ReceiveMessage",)),
        Right("tasks", ("ChangeMessageVisibilityBatch",)),
        Right("tasks", ("DeleteMessageBatch", "DeleteMessage")),
        Right("tasks", ("SendMessageBatch",)),
        Right("answers", ("SendMessageBatch",)),
        Right("ledger", ("BatchExecuteStatement", "PutItem")),
        Right("ledger", ("BatchGetItem",)),
        Right("ledger", ("DeleteItem",)),
        Right("control", ("BatchGetItem",)),
        Right("s3", ("GET",), "overflow/"),
        Right("s3", ("PUT",), "overflow/"),
        Right("s3", ("PUT",), "ledger/"),
    ),
    "client": (
        Right("tasks", ("SendMessageBatch",)),
        Right("answers", ("ReceiveMessage",)),
        Right("control", ("BatchGetItem",)),
        Right("s3", ("GET", "PUT"), "overflow/"),
    ),
}


class AwsServices(Services):
    """A model of Amazon, and each host's own backend in front of it.

    The seed decides where claims are kept: in a table, by calls for one or for many, read strongly or not;
    or in a bucket. It also decides how large a message may be: in one of four schedules every bundle and some
    answers go into objects, or only the largest do.
    large: whether there are `MANY_TASKS` or more, with which only batches are tried.
    """

    rights = _RIGHTS

    def __init__(self, network: Network, seed: int, fifo: bool, large: bool) -> None:
        super().__init__()
        self.away = network.away
        self.denials = network.denials
        self.amazon = Amazon(network, fifo, self.expired.update)
        self._seed = seed
        self._backends: dict[str, _HostBackend] = {}
        self._options: dict[str, Any] = {"queue": "fifo" if fifo else "standard"}
        self._message_bytes = CALL_BYTES
        if not large:
            self._message_bytes = SMALL_BYTES[seed % len(SMALL_BYTES)]
            self._options |= {
                "ledger": "s3" if seed % 9 == 4 else "dynamodb",
                "claims": "single" if seed % 10 == 3 else "batch",
                "reads": "eventual" if seed % 4 == 2 else "strong",
            }

    async def create(self, run: str, options: ChannelOptions, tasks_per_row: int) -> None:
        self.amazon.create(options)
        self.amazon.table.tasks_per_row = tasks_per_row

    async def open(self, run: str, host: str) -> Channel:
        backend = _HostBackend(self.amazon, self._options, host, self._seed, self._message_bytes)
        self._backends[host] = backend
        return await backend.open(run)

    def leave(self, host: str) -> Coroutine[None, None, None]:
        return self._backends[host].close()

    async def messages_left(self, channel: Channel) -> int:
        return self.amazon.queues["tasks"].messages.true_depth().total


class _HostBackend(AwsBackend):
    """The backend as one process has it."""

    def __init__(
        self, amazon: Amazon, options: dict[str, Any], host: str, seed: int, message_bytes: int
    ) -> None:
        super().__init__(options)
        self._message_bytes = message_bytes
        self._key = None  # what is signed is not searched, whatever the environment has
        self._rng = random.Random(f"{seed}:aws:{host}")
        self._names = random.Random(f"{seed}:names:{host}")
        self._calls = ModelCalls(amazon, host, self._rng)
        self._resources = _Found()  # type: ignore[assignment] # finds, and makes nothing

    def _new_name(self) -> str:
        return f"{self._names.getrandbits(64):016x}"


class _Found:
    """The run's place, which is known."""

    async def find(self, run: str) -> RunPlace:
        tasks, answers, dead = QUEUES
        names = Names(tasks=tasks, answers=answers, dead=dead, table=TABLE, objects="run/")
        return RunPlace(names, BUCKET, (queue_url(tasks), queue_url(answers), queue_url(dead)))
