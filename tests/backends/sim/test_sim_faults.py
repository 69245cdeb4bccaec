"""Faults: at their rate, only when asked, each on its own stream, and again as planned."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import re

import pytest

from kon.backends.sim.backend import SimQueue
from kon.backends.sim.faults import FAULTS, FaultRates, Faults, FaultSpans
from kon.backends.sim.loop import SimLoop, simulate
from kon.backends.sim.messages import Messages
from kon.backends.sim.schedule import Seeded
from kon.backends.sim.trace import What
from kon.core.errors import BackendUnavailable, ConfigurationError
from kon.core.ledger import Record
from kon.core.queue import Queue
from tests.backends.sim.world import VISIBILITY_S, World, messages, run

HOST_FAULTS = (
    "crash",
    "pause",
    "skew",
    "client_crash",
    "client_pause",
    "denied",
    "denied_for_good",
    "second_client",
    "stop",
    "late",
    "cancel",
)
"""For the scenario to see to; the services have no occasion for them."""

RATE = 0.2


async def _busy(world: World, rounds: int) -> None:
    """Occasions for every fault that services have."""
    answers = SimQueue(Messages("answers", world.network, VISIBILITY_S, duplicates="answer_duplicate"))
    for number in range(rounds):
        for queue in (world.queue, answers):
            await _circulate(queue, number)
        keys = range(number, number + 5)
        for call in (
            world.ledger.insert_new([Record(key, f"t{number}") for key in keys]),
            world.ledger.put([Record(key, f"u{number}") for key in keys]),
            world.ledger.read(keys),
        ):
            with contextlib.suppress(BackendUnavailable):
                await call


async def _circulate(queue: Queue, number: int) -> None:
    with contextlib.suppress(BackendUnavailable):
        await queue.send(messages([number, number]))
    with contextlib.suppress(BackendUnavailable):
        held = await queue.receive(4, 0.0)
        await queue.extend(held, 30.0)
        await queue.depth()
        await queue.ack(held[:1])
        await asyncio.sleep(VISIBILITY_S + 1.0)
        again = await queue.receive(4, 0.0)
        await queue.ack(held[1:])  # stale by now
        await queue.ack(again)


def test_with_no_rate_nothing_ever_goes_wrong() -> None:
    async def main() -> None:
        world = World(FaultRates())
        await _busy(world, 20)
        assert world.faults.fired == []
        assert world.faults.occasions() == {}
        assert {step.what for step in world.trace.steps} == {What.CALL, What.EFFECT}

    run(main())


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault not in HOST_FAULTS])
def test_a_fault_fires_at_its_rate_and_no_other_with_it(fault: str) -> None:
    async def main() -> None:
        world = World(FaultRates(**{fault: RATE}), seed=11)
        await _busy(world, 250)
        assert {fired.fault for fired in world.faults.fired} == {fault}
        occasions = sum(world.faults.occasions().values())
        assert occasions >= 100
        assert len(world.faults.fired) / occasions == pytest.approx(RATE, abs=0.09)

    simulate(main(), SimLoop(limit_s=10_000_000.0))


def test_every_fault_has_its_meaning_written_beside_it() -> None:
    source = inspect.getsource(FaultRates)
    for fault in FAULTS:
        assert re.search(rf'^    {fault}: float = 0\.0\n    """[A-Z].*\."""$', source, re.MULTILINE), fault


def test_one_faults_stream_is_not_moved_by_another() -> None:
    def fired(**rates: float) -> list[int]:
        faults = Faults(FaultRates(**rates), seed=5)
        for _ in range(200):
            for fault in ("throttle", "stale_read", "duplicate"):
                faults.fires(fault, "tasks")
        return [each.nth for each in faults.fired if each.fault == "throttle"]

    alone = fired(throttle=0.1)
    assert alone
    assert fired(throttle=0.1, stale_read=0.5, duplicate=0.9) == alone


def test_services_and_seeds_have_streams_of_their_own() -> None:
    def fired(service: str, seed: int) -> list[int]:
        faults = Faults(FaultRates(throttle=0.1), seed)
        for _ in range(500):
            faults.fires("throttle", service)
        return [each.nth for each in faults.fired]

    assert fired("ledger", 1) == fired("ledger", 1)
    assert len({tuple(fired(service, seed)) for service in ("ledger", "control") for seed in (1, 2)}) == 4


def test_how_far_a_fault_goes_is_the_seeds_to_decide() -> None:
    far = set()
    for seed in (1, 2):
        for service in ("ledger", "control"):
            fired = Faults(FaultRates(throttle=1.0), seed).fires("throttle", service)
            assert fired is not None
            far.add(fired.random())
    assert len(far) == 4


def test_what_fired_can_be_repeated_in_whole_and_in_part() -> None:
    def run_busy(world: World) -> World:
        simulate(_busy(world, 10), SimLoop(limit_s=100_000.0))
        return world

    rates = FaultRates(duplicate=0.3, throttle=0.1, write_reply_lost=0.2, delay=0.1)
    first = run_busy(World(rates, seed=9))
    fired = first.faults.fired
    assert len({each.fault for each in fired}) == 4
    again = run_busy(World(seed=9, plan=fired))
    assert again.trace.digest() == first.trace.digest()
    assert again.faults.fired == fired
    part = run_busy(World(seed=9, plan=fired[:1]))
    assert part.trace.digest() != first.trace.digest()
    assert part.faults.fired == fired[:1]


def test_a_fault_goes_as_far_in_a_replay_without_the_others() -> None:
    first = Faults(FaultRates(throttle=0.5), seed=9)
    far = [first.fires("throttle", "ledger") for _ in range(20)]
    last = first.fired[-1]
    alone = Faults(seed=9, plan=[last])
    far_alone = [alone.fires("throttle", "ledger") for _ in range(20)]
    assert [each is not None for each in far_alone] == [nth == last.nth for nth in range(20)]
    there, again = far[last.nth], far_alone[last.nth]
    assert there is not None
    assert again is not None
    assert there.random() == again.random()


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_rate_that_is_none_is_refused(rate: float) -> None:
    with pytest.raises(ConfigurationError, match="fault rate throttle"):
        FaultRates(throttle=rate)


@pytest.mark.parametrize("span_s", [-0.1, float("nan"), float("inf")])
def test_a_span_that_is_none_is_refused(span_s: float) -> None:
    with pytest.raises(ConfigurationError, match="fault span stale_s"):
        FaultSpans(stale_s=span_s)


ALL = FaultRates(**dict.fromkeys(set(FAULTS) - set(HOST_FAULTS), 0.05))


def _digest(seed: int) -> str:
    loop, world = SimLoop(Seeded(seed), limit_s=100_000.0), World(ALL, seed)

    async def main() -> None:
        await asyncio.wait([loop.spawn(host, _busy(world, 10)) for host in ("a", "b", "c")])

    simulate(main(), loop)
    return world.trace.digest()


def test_a_seed_always_gives_the_same_trace() -> None:
    digests = [_digest(seed) for seed in range(5)]
    assert digests == [_digest(seed) for seed in range(5)]
    assert len(set(digests)) == 5
