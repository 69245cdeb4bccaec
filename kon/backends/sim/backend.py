"""The backend `sim`: services that misbehave as asked, in virtual time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, TypeVar

import msgspec

from kon.backends.sim.faults import FAULTS, FaultRates, Faults, FaultSpans
from kon.backends.sim.fleet import Fleet
from kon.backends.sim.latency import CallTime, CallTimes, Latency
from kon.backends.sim.ledger import SimLedger
from kon.backends.sim.model import Choice, to_model
from kon.backends.sim.network import Network
from kon.backends.sim.objects import SimObjects
from kon.backends.sim.queue import FIFO_LIMITS, LIMITS, SimQueue
from kon.core.backend import Backend, Channel, ChannelOptions, check_channel, check_same, refuse_unknown
from kon.core.errors import ConfigurationError, StoreError, did_you_mean
from kon.core.objects import ObjectStore, check_run

_Model = TypeVar("_Model")
_Batch = Annotated[int, msgspec.Meta(ge=1)]

LARGEST_BATCH: Final = 1_000
"""Larger than any that a service takes."""

OPTIONS: Final = ("faults", "latency", "seed", "spans", "max_batch", *Choice.__struct_fields__)


class SimBackend(Backend):
    """Every channel of a run that is opened through one object shares its queues and tables.

    Options: `seed`; `faults`, rates by name (see `FaultRates`); `spans`, how far they go
    (`FaultSpans`); `latency`, call times by call (`CallTimes`) or a whole `Model`, of which `queue`,
    `table`, `instance`, `boot` and `spot` choose (`queue: fifo` does without a model too); `max_batch`,
    items in one request, at most: with 1, one call for each step, as the older systems had it. With none
    of these it behaves well and at once.
    """

    name: ClassVar[str] = "sim"
    processes: ClassVar[bool] = False
    virtual_time: ClassVar[bool] = True
    rows_cost: ClassVar[bool] = True  # as with Amazon, which it stands for

    def __init__(self, options: Mapping[str, Any]) -> None:
        refuse_unknown(self.name, options, OPTIONS)
        seed = _convert(options.get("seed", 0), int, "seed")
        rates = options.get("faults", {})
        if isinstance(rates, Mapping):
            for name in rates:
                if name not in FAULTS:
                    raise ConfigurationError(
                        f'the backend "sim" has no fault "{name}"{did_you_mean(name, FAULTS)} '
                        f"(it has: {', '.join(FAULTS)})"
                    )
        faults = Faults(
            _convert(rates, FaultRates, "faults"),
            seed,
            _convert(options.get("spans", {}), FaultSpans, "spans"),
        )
        self.fleet: Fleet | None = None
        """The fleet, where there is a model of one."""
        self.tasks: SimQueue | None = None
        """The task queue of the run that was created last."""
        self._fifo = options.get("queue") == "fifo"
        self._max_batch = _convert(options.get("max_batch", LARGEST_BATCH), _Batch, "max_batch")
        self._serve(Network(faults, self._latency(options, seed)))

    def _latency(self, options: Mapping[str, Any], seed: int) -> Latency | None:
        given = options.get("latency") or {}
        if isinstance(given, str):
            raise ConfigurationError(
                f'the backend "sim": latency: the model "{given}" has not been read; only an experiment file '
                "may name one"
            )
        chosen = {name: options[name] for name in Choice.__struct_fields__ if name in options}
        if isinstance(given, Mapping) and "calls" in given:
            self.fleet = Fleet(to_model(given), seed, _convert(chosen, Choice, "choices"))
            return self.fleet
        for name in chosen.keys() - {"queue"} if self._fifo else chosen:
            raise ConfigurationError(f'the backend "sim": {name}: chooses of a model, and latency names none')
        times = _convert(given, dict[str, CallTime], "latency")
        return CallTimes(times, seed) if times else None

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
        self._channels: dict[str, tuple[ChannelOptions, Channel]] = {}
        self._kept: dict[str, ObjectStore] = {}
        """Of runs that are deleted."""

    async def create(self, run: str, options: ChannelOptions) -> None:
        if run in self._channels:
            check_same(run, self._channels[run][0], options)
            return
        check_run(run)
        check_channel(options, FIFO_LIMITS if self._fifo else LIMITS)
        network = self.network
        dead = SimQueue("dead", network, options.visibility_s, fifo=self._fifo)
        tasks = SimQueue("tasks", network, options.visibility_s, options.max_receives, dead, fifo=self._fifo)
        answers = SimQueue("answers", network, options.visibility_s, duplicates="answer_duplicate")
        ledger, control = SimLedger("ledger", network), SimLedger("control", network)
        for queue in (tasks, answers, dead):
            batch = min(self._max_batch, queue.limits.max_batch)
            queue.limits = msgspec.structs.replace(queue.limits, max_batch=batch)
            if self.fleet is not None and self.fleet.max_in_flight is not None:
                queue.max_in_flight = self.fleet.max_in_flight
        for table in (ledger, control):
            table.max_batch = min(self._max_batch, table.max_batch)
        self.tasks = tasks
        objects = self._kept.pop(run, SimObjects("objects", network))
        self._channels[run] = (options, Channel(tasks, answers, dead, ledger, control, objects))

    async def open(self, run: str) -> Channel:
        if run not in self._channels:
            raise StoreError(f'there is no run "{run}" in this simulation; create it first')
        return self._channels[run][1]

    async def delete(self, run: str, keep_objects: bool = False) -> None:
        channel = self._channels.pop(run, None)
        if not keep_objects:
            self._kept.pop(run, None)
        elif channel is not None:
            self._kept[run] = channel[1].objects

    async def close(self) -> None:
        """Nothing is held open."""

    @property
    def requests(self) -> int:
        return self.network.requests


def _convert(value: object, to: type[_Model], option: str) -> _Model:
    try:
        return msgspec.convert(value, to)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f'the backend "sim": {option}: {error}') from error
