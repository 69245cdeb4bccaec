"""The metrics themselves: names, help and labels, drawn up from the meter whenever somebody asks."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from typing import Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from kon.core.backend import Backend
from kon.core.distribution import version
from kon.core.spec import RunSpec
from kon.engine.records.events import Event
from kon.engine.watchers.meter import EventMeter
from kon.engine.worker import Worker

LABELS: Final = ("run", "strategy", "kind", "backend")
"""Labels of every metric of kon's own. None of them grows with the number of tasks."""

COUNTED: Final = (
    ("kon_deliveries", Event.DELIVER, "Tasks that came in messages."),
    ("kon_claims", Event.CLAIM, "Tasks that the strategy let run."),
    ("kon_duplicates_avoided", Event.SKIP, "Tasks turned away, as done or begun before."),
    ("kon_claims_deferred", Event.DEFER, "Claims refused as another holds the task; it is looked at later."),
    ("kon_starts", Event.START, "Attempts at tasks that were started."),
    ("kon_retries", Event.RETRY, "Attempts that failed, and are made again."),
    ("kon_commits_refused", Event.REFUSE, "Commits refused: another's outcome stands, or will."),
    ("kon_claims_dropped", Event.DROP, "Tasks not started: their claim ran out before a slot was free."),
    ("kon_tasks_given_back", Event.GIVE_BACK, "Tasks not started: the worker was told to stop."),
    ("kon_tasks_stopped", Event.STOP, "Tasks stopped with their worker, and queued again."),
    ("kon_lease_renewals", Event.RENEW, "Tasks whose lease was renewed."),
    ("kon_heartbeats", Event.USAGE, "Heartbeats: what is held is kept alive, and usage recorded."),
    ("kon_backend_troubles", Event.TROUBLE, "Calls the backend did not answer; messages nobody can read."),
)  # fmt: skip
"""Counters that are sums of events, and so what the records of the same workers have."""


class WorkerCollector(Collector):
    """Metrics of all workers in this process. It only reads what they keep, from whatever thread asks."""

    def __init__(self, spec: RunSpec, meter: EventMeter, workers: Sequence[Worker], backend: Backend) -> None:
        self._meter = meter
        self._workers = workers
        self._backend = backend
        self._slots = spec.slots * len(workers)
        self._labels = (spec.run, spec.strategy.name, spec.kind.name, spec.backend.name)

    def collect(self) -> Iterator[Metric]:
        yield from self._of_tasks()
        yield from self._of_now()
        yield from self._of_times()
        yield from self._of_backend()
        build = GaugeMetricFamily(
            "kon_build_info", "Which kon this is: always 1.", labels=(*LABELS, "version", "python")
        )
        build.add_metric((*self._labels, version(), platform.python_version()), 1)
        yield build

    def _of_tasks(self) -> Iterator[Metric]:
        meter = self._meter
        ended = CounterMetricFamily(
            "kon_tasks_ended", "Tasks whose outcome was kept, by what it is.", labels=(*LABELS, "outcome")
        )
        for outcome, count in meter.ended().items():
            ended.add_metric((*self._labels, outcome), count)
        yield ended
        for name, event, text in COUNTED:
            yield self._counter(name, text, meter.count(event))
        yield self._counter(
            "kon_redeliveries",
            "Tasks that came in a message which had been received before.",
            meter.redelivered,
        )
        yield self._counter(
            "kon_takeovers",
            "Claims of tasks whose lease another had let run out: these start a second time.",
            sum(worker.takeovers for worker in self._workers),
        )

    def _of_now(self) -> Iterator[Metric]:
        loads = [worker.load for worker in self._workers]
        in_flight = GaugeMetricFamily(
            "kon_tasks_in_flight", "Tasks on the workers' hands, by stage.", labels=(*LABELS, "stage")
        )
        for stage in ("running", "waiting", "settling"):
            in_flight.add_metric((*self._labels, stage), sum(getattr(load, stage) for load in loads))
        yield in_flight
        yield self._gauge("kon_slots", "Tasks that can run at once.", self._slots)
        yield self._gauge(
            "kon_messages_held", "Messages received and not acked yet.", sum(load.messages for load in loads)
        )

    def _of_times(self) -> Iterator[Metric]:
        for name, text, histogram in (
            ("kon_task_seconds", "How long attempts at tasks took.", self._meter.task_s),
            ("kon_settle_seconds", "How long commit, answer and ack of a batch took.", self._meter.settle_s),
        ):
            buckets, total = histogram.buckets()
            family = HistogramMetricFamily(name, text, labels=LABELS)
            family.add_metric(self._labels, buckets, total)
            yield family
        calls = SummaryMetricFamily(
            "kon_backend_call_seconds", "Calls to queue and ledger that went well.", labels=(*LABELS, "call")
        )
        for call, (count, took_s) in sorted(_added_up(self._workers).items()):
            calls.add_metric((*self._labels, call), count, took_s)
        yield calls

    def _of_backend(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "kon_requests",
            "Requests to the backend, retries included; where it is a service, by operation.",
            labels=(*LABELS, "service", "operation"),
        )
        operations = dict(self._backend.operations) or {(self._labels[-1], ""): self._backend.requests}
        for service_operation, count in sorted(operations.items()):
            requests.add_metric((*self._labels, *service_operation), count)
        yield requests
        if billed := dict(self._backend.billed):
            units = CounterMetricFamily(
                "kon_billed_units", "What the provider bills of them, by unit.", labels=(*LABELS, "unit")
            )
            for unit, amount in sorted(billed.items()):
                units.add_metric((*self._labels, unit), amount)
            yield units

    def _counter(self, name: str, text: str, value: float) -> Metric:
        family = CounterMetricFamily(name, text, labels=LABELS)
        family.add_metric(self._labels, value)
        return family

    def _gauge(self, name: str, text: str, value: float) -> Metric:
        family = GaugeMetricFamily(name, text, labels=LABELS)
        family.add_metric(self._labels, value)
        return family


def _added_up(workers: Sequence[Worker]) -> dict[str, tuple[int, float]]:
    """How often each call was made, and how many seconds these took together."""
    sums: dict[str, tuple[int, float]] = {}
    for worker in workers:
        for call, timing in worker.timings.by_call().items():
            count, took_s = sums.get(call, (0, 0.0))
            sums[call] = count + timing.calls, took_s + timing.sum_s
    return sums
