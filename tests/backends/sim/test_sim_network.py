"""What lies between hosts and services: time, loss, partitions, and the SDK's repeats."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
from pathlib import Path

import pytest

from kon.backends.sim.backend import SimObjects
from kon.backends.sim.faults import FaultRates, FaultSpans
from kon.backends.sim.latency import CALLS, CallTime, CallTimes
from kon.backends.sim.loop import SimLoop, simulate
from kon.backends.sim.network import TIMEOUT_S, TRIES, Network
from kon.backends.sim.trace import What
from kon.core.errors import BackendUnavailable, ConfigurationError
from kon.core.ledger import Record
from tests.backends.sim.world import World, messages, run


def test_an_error_before_leaves_nothing_behind() -> None:
    async def main() -> None:
        world = World(FaultRates(error_before=1.0))
        with pytest.raises(BackendUnavailable, match=r"ledger\.put: no reply in 3 tries"):
            await world.ledger.put([Record(1, "t")])
        assert world.ledger.rows == {}
        assert world.network.requests == TRIES
        assert asyncio.get_running_loop().time() > TRIES * TIMEOUT_S

    run(main())


def test_a_receive_that_may_wait_is_given_that_time_on_top() -> None:
    async def main() -> float:
        with pytest.raises(BackendUnavailable, match="3 tries of 12 s each"):
            await World(FaultRates(error_before=1.0)).queue.receive(1, 10.0)
        return asyncio.get_running_loop().time()

    assert run(main()) == pytest.approx(36.3)


def test_an_error_after_leaves_everything_behind_once_for_each_try() -> None:
    async def main() -> None:
        world = World(FaultRates(error_after=1.0))
        with pytest.raises(BackendUnavailable):
            await world.ledger.put([Record(1, "t")])
        with pytest.raises(BackendUnavailable):
            await world.queue.send(messages([1]))
        assert world.ledger.rows == {1: Record(1, "t")}
        assert world.queue.messages.true_depth().visible == TRIES

    run(main())


def test_a_partition_cuts_one_host_from_one_kind_of_service_for_a_time() -> None:
    world = World()
    loop = SimLoop(limit_s=1_000.0)
    did: list[str] = []

    async def work(host: str) -> None:
        for name, call in (("send", world.queue.send(messages([1]))), ("read", world.ledger.read([1]))):
            try:
                await call
                did.append(f"{host} {name}")
            except BackendUnavailable:
                did.append(f"{host} no {name}")

    async def main() -> None:
        world.network.cut("a", "ledger", 20.0)
        await asyncio.gather(loop.spawn("a", work("a")), loop.spawn("b", work("b")))
        await asyncio.sleep(20.0)
        await loop.spawn("a", work("a"))

    simulate(main(), loop)
    assert did == ["a send", "b send", "b read", "a no read", "a send", "a read"]


def test_a_partition_of_the_way_back_lets_requests_take_effect() -> None:
    world = World()
    loop = SimLoop(limit_s=1_000.0)

    async def work() -> None:
        with pytest.raises(BackendUnavailable):
            await world.ledger.put([Record(1, "t")])

    async def main() -> None:
        world.network.cut("a", "ledger", 20.0, replies_only=True)
        await loop.spawn("a", work())

    simulate(main(), loop)
    assert world.ledger.rows == {1: Record(1, "t")}


def test_a_call_survives_a_partition_that_ends_in_time() -> None:
    world = World()
    loop = SimLoop(limit_s=1_000.0)

    async def main() -> None:
        world.network.cut("a", "ledger", TIMEOUT_S / 2)
        await loop.spawn("a", world.ledger.put([Record(1, "t")]))

    simulate(main(), loop)
    assert world.ledger.rows == {1: Record(1, "t")}
    assert world.network.requests == 2


def test_a_reply_under_way_is_lost_in_a_partition_that_begins_then() -> None:
    world = World(latency=CallTimes({"queue.receive": CallTime(1.0, 1.0)}))
    loop = SimLoop(limit_s=1_000.0)

    async def main() -> None:
        _ = loop.spawn("a", world.queue.receive(1, 10.0))
        await asyncio.sleep(5.0)
        world.network.cut("a", "queue", 2.0)
        await world.queue.send(messages([1]))
        await asyncio.sleep(5.0)

    simulate(main(), loop)
    lost = [
        step for step in world.trace.steps if step.what is What.FAULT and step.note == "the reply is lost"
    ]
    assert [(step.host, step.op) for step in lost] == [("a", "receive")]


def test_partitions_by_chance_end_within_their_span() -> None:
    async def main() -> None:
        world = World(FaultRates(partition=1.0), spans=FaultSpans(partition_s=10.0))
        for _ in range(20):
            with contextlib.suppress(BackendUnavailable):
                await world.ledger.put([Record(1, "t")])
        cuts = [step for step in world.trace.steps if step.op == "partition"]
        assert all(float(step.note.split()[-2]) <= 10.0 for step in cuts)
        assert {step.note.split(" every")[0] for step in cuts} == {"the way to", "the replies of"}

    run(main())


def test_calls_take_the_time_that_the_model_says() -> None:
    async def main() -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        world = World(latency=CallTimes({"ledger.put": CallTime(0.005, 0.020, per_item_s=0.001)}))
        took_s = []
        for _ in range(2_000):
            began_s = loop.time()
            await world.ledger.put([Record(1, "t"), Record(2, "t")])
            took_s.append(loop.time() - began_s)
        began_s = loop.time()
        await world.ledger.read([1])
        assert loop.time() == began_s
        return statistics.median(took_s), statistics.quantiles(took_s, n=100)[98]

    median_s, p99_s = run(main())
    assert median_s == pytest.approx(0.007, rel=0.05)
    assert p99_s == pytest.approx(0.022, rel=0.2)


def test_a_write_takes_effect_half_way() -> None:
    async def main() -> None:
        world = World(latency=CallTimes({"ledger.put": CallTime(1.0, 1.0)}))
        call = asyncio.create_task(world.ledger.put([Record(1, "t")]))
        await asyncio.sleep(0.49)
        assert world.ledger.rows == {}
        await asyncio.sleep(0.02)
        assert world.ledger.rows == {1: Record(1, "t")}
        assert not call.done()
        await call
        assert asyncio.get_running_loop().time() == 1.0

    run(main())


@pytest.mark.parametrize(
    "time",
    [
        (0.0, 1.0, 0.0),
        (-1.0, 1.0, 0.0),
        (2.0, 1.0, 0.0),
        (1.0, float("inf"), 0.0),
        (1.0, 2.0, -1.0),
        (float("nan"), 1.0, 0.0),
        (1.0, float("nan"), 0.0),
        (1.0, 1.0, float("nan")),
    ],
)
def test_a_time_that_no_call_can_take_is_refused(time: tuple[float, float, float]) -> None:
    with pytest.raises(ConfigurationError, match="median_s"):
        CallTime(*time)


def test_an_unknown_call_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r'"ledger.insert".*did you mean "ledger.insert_new"'):
        CallTimes({"ledger.insert": CallTime(1.0, 1.0)})


def test_every_call_has_a_name_in_the_model() -> None:
    times = CallTimes(dict.fromkeys(CALLS, CallTime(1.0, 1.0)))
    world = World(latency=times)

    async def main() -> None:
        await world.queue.send(messages([1]))
        held = await world.queue.receive(1, 0.0)
        await world.queue.extend(held, 1.0)
        await world.queue.depth()
        await world.queue.ack(held)
        await world.ledger.insert_new([Record(1, "t")])
        await world.ledger.read([1])
        await world.ledger.replace([Record(1, "u")], ["t"])
        await world.ledger.put([Record(1, "v")])
        await world.ledger.scan(0, 1)
        await world.ledger.delete([1], ["v"])
        assert asyncio.get_running_loop().time() == pytest.approx(11.0)

    run(main())


def test_an_error_of_the_service_reaches_the_caller(tmp_path: Path) -> None:
    async def main() -> None:
        objects = SimObjects("objects", Network())
        with pytest.raises(KeyError):
            await objects.get("nothing", tmp_path / "file")

    run(main())


def test_objects_are_kept_and_their_links_say_when_they_expire(tmp_path: Path) -> None:
    source, copy = tmp_path / "source", tmp_path / "copy"
    source.write_bytes(b"content")

    async def main() -> str:
        objects = SimObjects("objects", Network())
        await objects.put("a/b c", source)
        await objects.get("a/b c", copy)
        await asyncio.sleep(100.0)
        return await objects.url("a/b c", 600.0)

    assert run(main()) == "sim:a/b%20c?expires_at_s=700.000"
    assert copy.read_bytes() == b"content"
