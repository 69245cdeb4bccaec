"""The backend `sim`: services that misbehave as asked, in virtual time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final, TypeVar

import msgspec

from kon.backend import Backend, Channel, ChannelOptions
from kon.backends.keys import check_run
from kon.backends.options import check_channel, check_same, refuse_unknown
from kon.errors import ConfigurationError, StoreError
from kon.sim.faults import FAULTS, FaultRates, Faults, FaultSpans
from kon.sim.latency import CallTime, CallTimes
from kon.sim.ledger import SimLedger
from kon.sim.network import Network
from kon.sim.objects import SimObjects
from kon.sim.queue import LIMITS, SimQueue
from kon.suggest import did_you_mean

_Model = TypeVar("_Model")

OPTIONS: Final = ("faults", "latency", "seed", "spans")


class SimBackend(Backend):
    """Every channel of a run that is opened through one object shares its queues and tables.

    Options: `seed`; `faults`, rates by name (see `FaultRates`); `spans`, how far they go
    (`FaultSpans`); `latency`, call times by call (`CallTimes`). With none of these it behaves well
    and at once.
    """

    name: ClassVar[str] = "sim"
    processes: ClassVar[bool] = False

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
        times = _convert(options.get("latency", {}), dict[str, CallTime], "latency")
        self._serve(Network(faults, CallTimes(times, seed) if times else None))

    @classmethod
    def on(cls, network: Network) -> SimBackend:
        """A backend over a network that the caller made and keeps: a scenario's, with its trace."""
        backend = cls({})
        backend._serve(network)
        return backend

    def _serve(self, network: Network) -> None:
        self.network = network
        self._channels: dict[str, tuple[ChannelOptions, Channel]] = {}

    async def create(self, run: str, options: ChannelOptions) -> None:
        if run in self._channels:
            check_same(run, self._channels[run][0], options)
            return
        check_run(run)
        check_channel(options, LIMITS)
        network = self.network
        dead = SimQueue("dead", network, options.visibility_s)
        channel = Channel(
            tasks=SimQueue("tasks", network, options.visibility_s, options.max_receives, dead),
            answers=SimQueue("answers", network, options.visibility_s, duplicates="answer_duplicate"),
            dead=dead,
            ledger=SimLedger("ledger", network),
            control=SimLedger("control", network),
            objects=SimObjects("objects", network),
        )
        self._channels[run] = (options, channel)

    async def open(self, run: str) -> Channel:
        if run not in self._channels:
            raise StoreError(f'there is no run "{run}" in this simulation; create it first')
        return self._channels[run][1]

    async def delete(self, run: str) -> None:
        self._channels.pop(run, None)

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
