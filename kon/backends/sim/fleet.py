"""A fleet in virtual time, by a model: each call waits for its host's CPU and for its turn at the service.

A request over a limit waits until it is let through, as one does that is throttled and repeated by the
SDK, with pauses in between; what is let through in all is the same, and only that is modelled.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from typing import Final

import msgspec

from kon.backends.sim.latency import P99, Latency
from kon.backends.sim.loop import current_host
from kon.backends.sim.model import CallFigure, Model, ServiceChoice, Spread, TableLimits, chosen

STALE_READ_UNITS: Final = 0.5
"""Read units for one item that may be stale."""


class Limit:
    """A rate that a service keeps to: units are let through one after another, and who comes early waits.

    per_s: units a second. burst_s: how many seconds' worth may be saved up.
    doubles_every_s, most_per_s: how the rate grows with the time since the first use.
    """

    def __init__(
        self,
        name: str,
        per_s: float,
        burst_s: float = 0.0,
        doubles_every_s: float | None = None,
        most_per_s: float | None = None,
    ) -> None:
        self.name = name
        self.per_s = per_s
        self.burst_s = burst_s
        self.doubles_every_s = doubles_every_s
        self.most_per_s = most_per_s
        self.units = 0.0
        self.waited_s = 0.0
        """Seconds of all requests together."""
        self.waits = 0
        """Requests that had to wait."""
        self._first_s: float | None = None
        self._free_s = -math.inf  # when all that was let through so far is paid for

    def rate_at(self, now_s: float) -> float:
        """Units a second, so long after the first use."""
        if self.doubles_every_s is None or self._first_s is None:
            return self.per_s
        grown = self.per_s * 2.0 ** math.floor((now_s - self._first_s) / self.doubles_every_s)
        return grown if self.most_per_s is None else max(self.per_s, min(grown, self.most_per_s))

    def wait_s(self, units: float, now_s: float) -> float:
        """How long a request for that many units waits that arrives now."""
        if self._first_s is None:
            self._first_s = now_s
        self.units += units
        free_s = max(self._free_s, now_s - self.burst_s) + units / self.rate_at(now_s)
        self._free_s = free_s
        if free_s <= now_s:
            return 0.0
        self.waited_s += free_s - now_s
        self.waits += 1
        return free_s - now_s


class LimitReport(msgspec.Struct, frozen=True):
    """What came of a limit. used: `units`, as a share of all that it would have let through."""

    name: str
    per_s: float
    units: float
    used: float
    waits: int
    waited_s: float


class Usage(msgspec.Struct):
    """How often a call was made, and of how many items."""

    calls: int = 0
    items: int = 0


class _Way:
    """A call at one service: how long it takes, and what it uses up."""

    __slots__ = ("cpu_item_s", "cpu_s", "limit", "mu", "per_item_s", "sigma", "units_per_item", "usage")

    def __init__(self, time: CallFigure, limit: Limit | None, units_per_item: float) -> None:
        # a median of 0 becomes exp(-inf): no time at all
        self.mu = math.log(time.median_s) if time.median_s else -math.inf
        self.sigma = math.log(time.p99_s / time.median_s) / P99 if time.median_s else 0.0
        self.per_item_s = time.per_item_s
        self.limit = limit
        self.units_per_item = units_per_item  # 0 where the limit is on calls
        self.cpu_s = 0.0
        self.cpu_item_s = 0.0
        self.usage = Usage()


class Fleet(Latency):
    """The latency of a model, with the choices made and `processes` workers sharing a host."""

    def __init__(
        self, model: Model, seed: int | str, choice: ServiceChoice | None = None, processes: int = 1
    ) -> None:
        """Raises ConfigurationError for a choice that the model does not have."""
        self.model = model
        self.choice = choice or ServiceChoice()
        self._times = model.calls.by_name()
        self._queue = chosen(model.queues, self.choice.queue, "queue", model.name)
        self._table = chosen(model.tables, self.choice.table, "table", model.name)
        self.instance = chosen(model.instances, self.choice.instance, "instance", model.name)
        self._gauss = random.Random(f"latency:{seed}").gauss
        self._ways: dict[tuple[str, str], _Way] = {}
        self._limits: dict[str, Limit] = {}
        self.cpu_s: dict[str, float] = {}
        """CPU time that each host has used."""
        self._busy_until_s: dict[str, float] = {}
        self._factor = 1.0
        self._faster: dict[str, float] = {}
        self.share_hosts(processes)

    @property
    def max_in_flight(self) -> int | None:
        return self._queue.max_in_flight

    @property
    def usage(self) -> Mapping[tuple[str, str], Usage]:
        """Requests by service and call, such as ("tasks", "queue.send")."""
        return {at: way.usage for at, way in self._ways.items()}

    def share_hosts(self, processes: int) -> None:
        """Have that many worker processes share the vCPUs of each host. Before the first call."""
        self._factor = max(1.0, processes / self.instance.vcpus) / self.instance.speed

    def multiply(self, host: str, by: float) -> None:
        """Have that many hosts stand behind one name, each with its share of the calls."""
        self._faster[host] = by

    def delay_s(self, call: str, service: str, items: int, now_s: float) -> float:
        way = self._ways.get((service, call)) or self._new_way(call, service)
        way.usage.calls += 1
        way.usage.items += items
        sent_s = self.work(current_host.get(), way.cpu_s + way.cpu_item_s * items, now_s)
        way_s = sent_s - now_s + math.exp(self._gauss(way.mu, way.sigma)) + way.per_item_s * items
        if way.limit is None:
            return way_s
        return way_s + way.limit.wait_s(way.units_per_item * items or 1.0, sent_s)

    def work(self, host: str, cpu_s: float, now_s: float) -> float:
        """Have a host compute for so long as one of speed 1 would; the time at which it is done with that.

        A host does one thing after another. Its tasks go on meanwhile: they are thought to wait, mostly.
        """
        cpu_s *= self._factor
        if self._faster and host in self._faster:
            cpu_s /= self._faster[host]
        self.cpu_s[host] = self.cpu_s.get(host, 0.0) + cpu_s
        busy_s = self._busy_until_s.get(host, 0.0)
        done_s = (busy_s if busy_s > now_s else now_s) + cpu_s
        self._busy_until_s[host] = done_s
        return done_s

    def draw_s(self, spread: Spread, rng: random.Random) -> float:
        """A duration drawn from a spread."""
        if not spread.median_s:
            return 0.0
        sigma = math.log(spread.p99_s / spread.median_s) / P99
        return math.exp(rng.gauss(math.log(spread.median_s), sigma))

    def limits(self) -> list[Limit]:
        """Those that were met with at least one request."""
        return list(self._limits.values())

    def report(self, wall_s: float) -> list[LimitReport]:
        """What came of the limits in the seconds from the first request to the last."""
        return [
            LimitReport(
                limit.name,
                limit.per_s,
                limit.units,
                limit.units / (limit.per_s * wall_s) if wall_s > 0 else 0.0,
                limit.waits,
                limit.waited_s,
            )
            for limit in self._limits.values()
        ]

    def _new_way(self, call: str, service: str) -> _Way:
        limit, units = self._limit(call, service)
        way = _Way(self._times[call], limit, units)
        way.cpu_s = self.model.hosts.cpu.call_us / 1e6
        way.cpu_item_s = self.model.hosts.cpu.item_us / 1e6
        self._ways[service, call] = way
        return way

    def _limit(self, call: str, service: str) -> tuple[Limit | None, float]:
        """What a call is limited by, and how many units of that an item is; 0 where calls count."""
        kind, _, op = call.partition(".")
        if kind == "queue":
            return self._shared(f"{op} calls of the queue {service}", self._queue.calls_per_s), 0.0
        if kind == "objects":
            objects = self.model.objects
            reads = op != "put"
            per_s = objects.gets_per_s if reads else objects.puts_per_s
            return self._shared(f"{'GETs' if reads else 'PUTs'} of one prefix", per_s), 0.0
        table = self._table
        if op in ("read", "scan"):
            name = f"read units of the table {service}"
            return self._shared(name, table.reads_per_s, table.burst_s), STALE_READ_UNITS
        return self._writes(service, table), 1.0

    def _writes(self, service: str, table: TableLimits) -> Limit | None:
        name = f"write units of the table {service}"
        limit = self._shared(name, table.writes_per_s, table.burst_s)
        if limit is not None:
            limit.doubles_every_s = table.doubles_every_s
            limit.most_per_s = table.most_writes_per_s
        return limit

    def _shared(self, name: str, per_s: float | None, burst_s: float = 0.0) -> Limit | None:
        if per_s is None:
            return None
        return self._limits.setdefault(name, Limit(name, per_s, burst_s))
