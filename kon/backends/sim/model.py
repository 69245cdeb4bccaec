"""The model of a fleet: how long calls take, what services let through, how fast and how lasting hosts are.

These are the values. They stand in YAML files (`kon/backends/sim/models/`), each figure with its source;
`kon.experiment.models` reads those, `kon.backends.sim.fleet` acts by them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import msgspec

from kon.core.errors import ConfigurationError, did_you_mean

_Figures = TypeVar("_Figures")

Seconds = Annotated[float, msgspec.Meta(ge=0)]
AboveZero = Annotated[float, msgspec.Meta(gt=0)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Count = Annotated[int, msgspec.Meta(ge=1)]


class Figure(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """source: where the figures come from. A file must say so; what a run's description holds need not."""

    source: str = ""


class Spread(Figure, frozen=True):
    """A duration that varies: log-normal, in seconds. A median of 0 means that it takes no time."""

    median_s: Seconds
    p99_s: Seconds

    def __post_init__(self) -> None:
        if self.median_s > self.p99_s:
            raise ValueError(f"median_s ({self.median_s:g}) is above p99_s ({self.p99_s:g})")


class CallFigure(Spread, frozen=True):
    """A call's duration, and so much more for each item of its batch, in seconds."""

    per_item_s: Seconds = 0.0


class QueueCalls(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    send: CallFigure
    receive: CallFigure
    """Time of a receive that finds something at once; one that waits takes that long on top."""
    extend: CallFigure
    ack: CallFigure
    depth: CallFigure


class LedgerCalls(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    read: CallFigure
    insert_new: CallFigure
    replace: CallFigure
    put: CallFigure
    delete: CallFigure
    scan: CallFigure


class ObjectCalls(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    put: CallFigure
    get: CallFigure
    url: CallFigure


class CallFigures(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    queue: QueueCalls
    ledger: LedgerCalls
    objects: ObjectCalls

    def by_name(self) -> dict[str, CallFigure]:
        """By the names in `kon.backends.sim.latency.CALLS`."""
        return {
            f"{kind}.{call}": getattr(getattr(self, kind), call)
            for kind in self.__struct_fields__
            for call in getattr(self, kind).__struct_fields__
        }


class QueueQuotas(Figure, frozen=True):
    """What one queue lets through; None for no limit.

    max_in_flight: messages that are received and not yet deleted. calls_per_s: of each call.
    """

    max_in_flight: Count | None = None
    calls_per_s: AboveZero | None = None


class TableLimits(Figure, frozen=True):
    """What one table lets through; None for no limit.

    writes_per_s, reads_per_s: units, at the table's beginning: a write of up to 1 KB is one, a read of up
        to 4 KB one, or half a unit where it may be stale.
    doubles_every_s: how long it takes a table that is used to the full to take twice as much.
    most_writes_per_s: where that ends.
    burst_s: how many seconds' worth of unused units may be used later on.
    """

    writes_per_s: AboveZero | None = None
    reads_per_s: AboveZero | None = None
    doubles_every_s: AboveZero | None = None
    most_writes_per_s: AboveZero | None = None
    burst_s: Seconds = 1.0


class ObjectLimits(Figure, frozen=True):
    """What one prefix of a bucket lets through a second."""

    puts_per_s: AboveZero | None = None
    gets_per_s: AboveZero | None = None


class Cpu(Figure, frozen=True):
    """CPU time of a host of speed 1, in microseconds.

    call_us: of one request, in the SDK: signing, TLS, parsing. item_us: of each item in it.
    task_us: of kon's own worker for one task, without its requests.
    late_us: by how much a task takes longer there than by itself: late timers, other work there.
    """

    call_us: Seconds
    item_us: Seconds
    task_us: Seconds
    late_us: Seconds = 0.0


class HostModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """boot: from the request for a host to its worker's being ready. restart: of a worker on such a host."""

    boot: Spread
    restart: Spread
    spot: Interruptions
    cpu: Cpu


class Interruptions(Figure, frozen=True):
    """interrupted_in_an_hour: the share of spot hosts that Amazon takes back within an hour."""

    interrupted_in_an_hour: Share


class Instance(Figure, frozen=True):
    """A type of host.

    vcpus: of one host. speed: of one vCPU, as a multiple of that in `Cpu`.
    baseline_share: of each vCPU, what may be used all the time without CPU credits; 1 where there are none.
    """

    vcpus: Count
    speed: AboveZero
    baseline_share: Share = 1.0


class Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole model. `queues`, `tables` and `instances` by name: an experiment chooses among them.

    tasks: how long a task takes, for kinds that do not say that of theirs; measured by `kon calibrate`.
    """

    name: str
    calls: CallFigures
    queues: dict[str, QueueQuotas]
    tables: dict[str, TableLimits]
    objects: ObjectLimits
    hosts: HostModel
    instances: dict[str, Instance]
    about: str = ""
    tasks: Spread | None = None


class ServiceChoice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an experiment chooses of a model, by name; None for the first that the model has.

    boot: whether hosts take their time to boot. spot: whether they may be taken back.
    clients: kon has one; CloudKon had one on each host, which share what there is to submit and collect. Less
        than one is one that is slower, for simulations of a part of a fleet.
    """

    queue: str | None = None
    table: str | None = None
    instance: str | None = None
    boot: bool = True
    spot: bool = False
    clients: AboveZero = 1.0


def part_of(model: Model, divisor: float) -> Model:
    """The model for one of `parts` equal parts of a fleet: its share of what services let through in all."""

    def share(value: float | None) -> float | None:
        return None if value is None else value / divisor

    queues = {
        name: msgspec.structs.replace(
            queue,
            max_in_flight=None if queue.max_in_flight is None else max(1, int(queue.max_in_flight / divisor)),
            calls_per_s=share(queue.calls_per_s),
        )
        for name, queue in model.queues.items()
    }
    tables = {
        name: msgspec.structs.replace(
            table,
            writes_per_s=share(table.writes_per_s),
            reads_per_s=share(table.reads_per_s),
            most_writes_per_s=share(table.most_writes_per_s),
        )
        for name, table in model.tables.items()
    }
    objects = msgspec.structs.replace(
        model.objects,
        puts_per_s=share(model.objects.puts_per_s),
        gets_per_s=share(model.objects.gets_per_s),
    )
    return msgspec.structs.replace(model, queues=queues, tables=tables, objects=objects)


def to_model(value: Mapping[str, Any]) -> Model:
    """The model of a plain mapping. Raises ConfigurationError with the first thing that is wrong."""
    try:
        return msgspec.convert(value, Model)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"latency: {error}") from error


def chosen(choices: Mapping[str, _Figures], name: str | None, what: str, model: str) -> _Figures:
    """One of a model's choices. Raises ConfigurationError for a name that it does not have."""
    if not choices:
        raise ConfigurationError(f'the model "{model}" has no {what} at all')
    if name is None:
        return next(iter(choices.values()))
    if name not in choices:
        raise ConfigurationError(
            f'{what}: the model "{model}" has no "{name}"{did_you_mean(name, choices)} '
            f"(it has: {', '.join(choices)})"
        )
    return choices[name]
