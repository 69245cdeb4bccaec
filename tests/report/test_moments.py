"""Task latencies: from the first delivery to the first result kept."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from kon.engine.records.events import Event
from kon.report.read.moments import Latencies, Moments
from kon.report.summary import summarise
from tests.report.made import Records


def test_a_latency_runs_from_the_first_delivery_to_the_first_result(tmp_path: Path) -> None:
    records = Records(tmp_path, 100)
    records.ran(0.0, 20.0)
    start_s = records.clock.t
    late, early = records.life("w1.aaaaaa"), records.life("w2.bbbbbb")

    def at(seconds: float, life: object, event: Event, indexes: range | list[int], attempt: int = 1) -> None:
        records.clock.t = start_s + seconds
        life.tasks(event, indexes, attempt)  # type: ignore[attr-defined]

    at(5.0, late, Event.DELIVER, range(100))  # again, and read before the first one
    at(1.0, early, Event.DELIVER, range(60))
    at(2.0, early, Event.DELIVER, [99, 97])
    at(3.0, early, Event.KEEP, range(60))
    at(9.0, late, Event.KEEP, range(50, 99))
    at(12.0, late, Event.KEEP, [99], attempt=3)
    row = summarise(records.folder)
    # 60 took 2 s, 38 took 4 s, one 7 s, one 10 s
    assert row["latency_p50_s"] == pytest.approx(2.0, rel=2e-3)
    assert row["latency_p99_s"] == pytest.approx(7.0, rel=2e-3)


def test_tasks_without_a_result_or_a_delivery_have_no_latency() -> None:
    moments = Moments(4, 0.0, 10.0)
    moments.deliver(1.0, [0, 1], None)
    moments.keep(2.0, [1, 2], None)
    found = moments.latencies()
    assert found.tasks == 1
    assert found.quantile(0.99) == pytest.approx(1.0, rel=2e-3)
    assert Moments(4, 0.0, 10.0).latencies().quantile(0.5) is None


def test_without_a_beginning_there_is_none() -> None:
    moments = Moments(1, None, None)
    moments.deliver(1.7e9, [0], None)
    moments.keep(1.7e9 + 1, [0], None)
    assert moments.latencies().tasks == 0


def test_clocks_that_differ_make_no_negative_latency() -> None:
    moments = Moments(1, 100.0, 10.0)
    moments.deliver(104.0, [0], None)
    moments.keep(103.9, [0], None)
    assert moments.latencies().tasks_by_s == {0.0: 1}


def test_a_range_beyond_the_tasks_is_refused() -> None:
    with pytest.raises(IndexError):
        Moments(5, 0.0, 1.0).deliver(0.5, None, (3, 3))


@pytest.mark.parametrize("span_s", [0.5, 3_600.0, 8e6, None])
def test_one_part_in_a_thousand_whatever_the_span(span_s: float | None) -> None:
    rng = random.Random(1)
    longest_s = min(span_s or 1e5, 1e5)
    latencies = [longest_s * rng.random() ** 3 for _ in range(2_000)]
    moments = Moments(2_000, 1.7e9, span_s)
    for index, latency_s in enumerate(latencies):
        moments.deliver(1.7e9, [index], None)
        moments.keep(1.7e9 + latency_s, [index], None)
    found = moments.latencies()
    for share in (0.1, 0.5, 0.9, 0.99, 1.0):
        expected_s = sorted(latencies)[int(share * 2_000) - 1]
        assert found.quantile(share) == pytest.approx(expected_s, rel=2e-3, abs=3 * moments.unit_s)


def test_the_nearest_rank_is_taken() -> None:
    latencies = Latencies({1.0: 50, 2.0: 49, 3.0: 1})
    assert [latencies.quantile(share) for share in (0.0, 0.5, 0.51, 0.99, 1.0)] == [1.0, 1.0, 2.0, 2.0, 3.0]
