"""The backend `sim`: services that misbehave as asked, in virtual time, with its queue and object store.

The queue behaves as standard SQS is documented to.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final
from urllib.parse import quote

import msgspec

from kon.backends.memory.backend import InProcess
from kon.backends.sim.faults import FaultRates, Faults, FaultSpans
from kon.backends.sim.fleet import Fleet
from kon.backends.sim.latency import CallTime, CallTimes, Latency
from kon.backends.sim.ledger import SimLedger
from kon.backends.sim.messages import MAX_BATCH, Messages
from kon.backends.sim.model import ServiceChoice, to_model
from kon.backends.sim.network import Network, NetworkCall
from kon.core.backend import Channel, ChannelOptions, check_channel
from kon.core.objects import ObjectStore, check_key, check_run
from kon.core.options import OptionError, misfits, read_options
from kon.core.queue import (
    Delivery,
    Depth,
    Message,
    Queue,
    QueueLimits,
    check_batch,
    check_send,
    check_visibility,
)

LONG_POLL_S: Final = 20.0
"""How long a receive may wait where a model of services is named: SQS's longest, as on `aws`."""

LARGEST_BATCH: Final = 1_000
"""Larger than any that a service takes."""


class SimObjects(ObjectStore):
    """Bytes by key. Files of the real machine are read and written in one go: that takes no virtual time."""

    def __init__(self, name: str, network: Network) -> None:
        self.name = name
        self._network = network
        self._objects: dict[str, bytes] = {}

    async def put(self, key: str, file: Path) -> None:
        content = file.read_bytes()  # noqa: ASYNC240 # see the class
        call = NetworkCall("objects", self.name, "put", 1, loses="write_reply_lost")
        await self._network.call(call, functools.partial(self._store, check_key(key), content))

    async def get(self, key: str, file: Path) -> None:
        call = NetworkCall("objects", self.name, "get", 1)
        content = await self._network.call(call, functools.partial(self._find, check_key(key)))
        file.write_bytes(content)  # noqa: ASYNC240

    async def size_bytes(self, key: str) -> int:
        call = NetworkCall("objects", self.name, "size_bytes", 1)
        return len(await self._network.call(call, functools.partial(self._find, check_key(key))))

    async def url(self, key: str, expires_s: float) -> str:
        """`sim:`, the key, and the virtual second at which the link expires."""
        call = NetworkCall("objects", self.name, "url", 1)
        await self._network.call(call, functools.partial(self._find, check_key(key)))
        expires_at_s = asyncio.get_running_loop().time() + expires_s
        return f"sim:{quote(key)}?expires_at_s={expires_at_s:.3f}"

    def _store(self, key: str, content: bytes, host: str) -> None:
        self._objects[key] = content

    def _find(self, key: str, host: str) -> bytes:
        return self._objects[key]


LIMITS: Final = QueueLimits(max_batch=MAX_BATCH, max_bytes=1 << 20, max_delay_s=900.0)
FIFO_LIMITS: Final = msgspec.structs.replace(LIMITS, max_delay_s=0.0, max_visibility_s=900.0, fifo=True)


class SimQueue(Queue):
    """One queue, as those who call it over the network see it."""

    def __init__(self, messages: Messages) -> None:
        self.name = messages.name
        self.messages: Final = messages
        self._network = messages.network
        self.limits = msgspec.structs.replace(
            FIFO_LIMITS if messages.fifo else LIMITS, stale_depth=messages.stale_depth
        )

    async def send(self, messages: Sequence[Message]) -> None:
        check_send(self.limits, messages)
        messages = list(messages)
        call = self._call("send", messages, "send_reply_lost")
        await self._network.call(call, functools.partial(self.messages.store, messages))

    async def receive(self, max_messages: int, wait_s: float) -> list[Delivery]:
        check_batch(self.limits, max_messages)
        back = self.messages.take_back
        call = NetworkCall("queue", self.name, "receive", max_messages, wait_s=wait_s, take_back=back)
        return await self._network.call(call, functools.partial(self.messages.serve, max_messages, wait_s))

    async def extend(self, deliveries: Sequence[Delivery], visible_s: float) -> list[bool]:
        check_batch(self.limits, len(deliveries))
        check_visibility(self.limits, visible_s)
        deliveries = list(deliveries)
        call = self._call("extend", deliveries)
        return await self._network.call(call, functools.partial(self.messages.extend, deliveries, visible_s))

    async def ack(self, deliveries: Sequence[Delivery]) -> list[bool]:
        check_batch(self.limits, len(deliveries))
        deliveries = list(deliveries)
        call = self._call("ack", deliveries, "ack_reply_lost")
        return await self._network.call(call, functools.partial(self.messages.ack, deliveries))

    async def depth(self) -> Depth:
        return await self._network.call(NetworkCall("queue", self.name, "depth", 1), self.messages.depth)

    def _call(self, op: str, about: Sequence[Message | Delivery], loses: str = "") -> NetworkCall:
        return NetworkCall("queue", self.name, op, len(about), self.messages.tasks(about), loses)


class SimOptions(ServiceChoice, frozen=True, kw_only=True):
    """Options of `sim`. With none of them it behaves well and at once.

    seed: what randomness starts from.
    faults: rates by name, from 0 to 1. spans: how far faults go, in seconds.
    latency: in an experiment file a model's name or file; from a program times by call, or a whole model.
    max_batch: items in one request, at most: with 1, one call for each step, as the older systems had it.
    queue: which of the model's queues, null for its first; `fifo` does without a model too.
    table: which of the model's tables, null for its first. instance: which of its types of host.
    boot: whether hosts take their time to boot. spot: whether hosts may be taken back.
    clients: how many clients share the submitting and collecting; less than 1 for a slower one.
    """

    seed: int = 0
    faults: FaultRates = FaultRates()
    spans: FaultSpans = FaultSpans()
    latency: str | dict[str, Any] | None = None
    max_batch: Annotated[int, msgspec.Meta(ge=1)] = LARGEST_BATCH


class SimBackend(InProcess):
    """Simulates services that misbehave as asked, in virtual time."""

    name: ClassVar[str] = "sim"
    takes = SimOptions
    place: ClassVar[str] = "this simulation"
    virtual_time: ClassVar[bool] = True
    rows_cost: ClassVar[bool] = True  # as with Amazon, which it stands for

    def __init__(self, options: Mapping[str, Any]) -> None:
        given = read_options("backend sim", options, SimOptions)
        faults = Faults(given.faults, given.seed, given.spans)
        self.fleet: Fleet | None = None
        """The fleet, where there is a model of one."""
        self.tasks: SimQueue | None = None
        """The task queue of the run that was created last."""
        self._fifo = given.queue == "fifo"
        self._max_batch = given.max_batch
        self._serve(Network(faults, self._latency(given, options)))

    def _latency(self, given: SimOptions, options: Mapping[str, Any]) -> Latency | None:
        latency = given.latency or {}
        if isinstance(latency, str):
            raise OptionError(
                f'option "latency" of backend sim: the model "{latency}" has not been read; only an '
                "experiment file may name one",
                "latency",
            )
        chosen = {name: getattr(given, name) for name in ServiceChoice.__struct_fields__ if name in options}
        if "calls" in latency:
            self.fleet = Fleet(to_model(latency), given.seed, ServiceChoice(**chosen))
            return self.fleet
        for name in chosen.keys() - {"queue"} if self._fifo else chosen:
            raise OptionError(
                f'option "{name}" of backend sim: chooses of a model, and latency names none', name
            )
        for path, text, *_ in misfits(latency, dict[str, CallTime], ("latency",)):
            raise OptionError(f'option "{".".join(map(str, path))}" of backend sim: {text}', *path)
        times = msgspec.convert(latency, dict[str, CallTime])
        return CallTimes(times, given.seed) if times else None

    @property
    def fifo(self) -> bool:
        return self._fifo

    @classmethod
    def on(cls, network: Network, fifo: bool = False) -> SimBackend:
        """A backend over a network that the caller made and keeps: a scenario's, with its trace."""
        backend = cls({})
        backend._fifo = fifo
        backend._serve(network)
        return backend

    def _serve(self, network: Network) -> None:
        self.network = network
        self._clear()

    async def create(self, run: str, options: ChannelOptions) -> None:
        if self._has(run, options):
            return
        check_run(run)
        check_channel(options, FIFO_LIMITS if self._fifo else LIMITS)
        network = self.network
        visible_s, fifo = options.visibility_s, self._fifo
        dead = SimQueue(Messages("dead", network, visible_s, fifo=fifo))
        kept = Messages("tasks", network, visible_s, options.max_receives, dead.messages, fifo=fifo)
        tasks = SimQueue(kept)
        answers = SimQueue(Messages("answers", network, visible_s, duplicates="answer_duplicate"))
        ledger, control = SimLedger("ledger", network), SimLedger("control", network)
        for queue in (tasks, answers, dead):
            batch = min(self._max_batch, queue.limits.max_batch)
            queue.limits = msgspec.structs.replace(queue.limits, max_batch=batch)
            if self.fleet is not None:
                queue.limits = msgspec.structs.replace(queue.limits, poll_s=LONG_POLL_S)
                if self.fleet.max_in_flight is not None:
                    queue.messages.max_in_flight = self.fleet.max_in_flight
        for table in (ledger, control):
            table.max_batch = min(self._max_batch, table.max_batch)
        self.tasks = tasks
        objects = self._kept.pop(run, SimObjects("objects", network))
        self._channels[run] = (options, Channel(tasks, answers, dead, ledger, control, objects))

    @property
    def requests(self) -> int:
        return self.network.requests
