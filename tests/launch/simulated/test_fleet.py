"""What a model makes of calls: waiting for the host's CPU, and for what a service lets through."""

from __future__ import annotations

import pytest

from kon.backends.sim.fleet import Fleet, Limit
from kon.backends.sim.loop import current_host
from kon.backends.sim.model import ServiceChoice
from kon.experiment.models import DEFAULT, FOLDER, read_model

MODEL = read_model(FOLDER / f"{DEFAULT}.yml")


def test_a_limit_lets_through_no_more_than_its_rate() -> None:
    limit = Limit("l", per_s=10.0)
    assert [limit.wait_s(5.0, 0.0) for _ in range(3)] == pytest.approx([0.5, 1.0, 1.5])
    assert limit.wait_s(5.0, 10.0) == pytest.approx(0.5)  # what was not used is not saved up
    assert (limit.waits, limit.units) == (4, 20.0)


def test_a_limit_may_save_up_for_a_burst() -> None:
    limit = Limit("l", per_s=10.0, burst_s=2.0)
    assert limit.wait_s(20.0, 100.0) == 0.0
    assert limit.wait_s(10.0, 100.0) == pytest.approx(1.0)


def test_a_table_takes_twice_as_much_every_half_an_hour_up_to_its_quota() -> None:
    limit = Limit("l", per_s=4_000.0, doubles_every_s=1_800.0, most_per_s=10_000.0)
    limit.wait_s(1.0, 50.0)
    assert [limit.rate_at(50.0 + at_s) for at_s in (0.0, 1_799.0, 1_800.0, 3_600.0)] == [4e3, 4e3, 8e3, 1e4]


def test_a_host_makes_one_request_after_another() -> None:
    fleet = Fleet(MODEL, seed=1)
    cpu_s = (MODEL.hosts.cpu.call_us + MODEL.hosts.cpu.item_us) / 1e6
    before = current_host.set("one")
    try:
        for number in range(1, 4):
            assert fleet.work("one", 0.0, 0.0) == pytest.approx((number - 1) * cpu_s)
            fleet.delay_s("queue.depth", "tasks", 1, 0.0)
    finally:
        current_host.reset(before)
    assert fleet.cpu_s == pytest.approx({"one": 3 * cpu_s})
    assert fleet.work("another", 0.0, 0.0) == 0.0


@pytest.mark.parametrize(("instance", "processes", "factor"), [("t3.micro", 2, 1.0), ("t3.micro", 4, 2.0)])
def test_processes_share_the_cpus_of_their_host(instance: str, processes: int, factor: float) -> None:
    fleet = Fleet(MODEL, 1, ServiceChoice(instance=instance), processes)
    assert fleet.work("one", 1.0, 0.0) == pytest.approx(factor)


def test_requests_are_counted_by_service_and_call() -> None:
    fleet = Fleet(MODEL, 1)
    for items in (10, 4):
        fleet.delay_s("queue.send", "tasks", items, 0.0)
    fleet.delay_s("queue.send", "answers", 1, 0.0)
    counted = {at: (usage.calls, usage.items) for at, usage in fleet.usage.items()}
    assert counted == {("tasks", "queue.send"): (2, 14), ("answers", "queue.send"): (1, 1)}


@pytest.mark.parametrize(
    ("choice", "call", "service", "items", "per_s"),
    [
        (ServiceChoice(queue="fifo"), "queue.receive", "tasks", 10, 300.0),
        (ServiceChoice(), "ledger.insert_new", "ledger", 25, 4_000.0),
        (ServiceChoice(table="provisioned"), "ledger.put", "ledger", 1, 50.0),
        (ServiceChoice(), "objects.put", "objects", 1, 3_500.0),
    ],
)
def test_each_service_has_its_limit(
    choice: ServiceChoice, call: str, service: str, items: int, per_s: float
) -> None:
    fleet = Fleet(MODEL, 1, choice)
    fleet.delay_s(call, service, items, 0.0)
    [limit] = fleet.limits()
    assert limit.per_s == per_s
    assert limit.units == (items if call.startswith("ledger") else 1)


def test_sqs_standard_takes_as_many_calls_as_one_likes() -> None:
    fleet = Fleet(MODEL, 1)
    fleet.delay_s("queue.send", "tasks", 10, 0.0)
    assert fleet.limits() == []
    assert fleet.max_in_flight == 120_000


def test_durations_have_the_median_and_the_tail_of_the_model() -> None:
    fleet = Fleet(MODEL, 1)
    fleet.share_hosts(1)
    drawn = sorted(fleet.delay_s("queue.depth", "tasks", 0, 1e6 * at) for at in range(20_000))
    cpu_s = MODEL.hosts.cpu.call_us / 1e6
    time = MODEL.calls.queue.depth
    assert drawn[10_000] - cpu_s == pytest.approx(time.median_s, rel=0.05)
    assert drawn[19_800] - cpu_s == pytest.approx(time.p99_s, rel=0.1)
