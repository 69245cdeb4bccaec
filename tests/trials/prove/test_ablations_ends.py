"""Safeguards for want of which tasks end as they should not, where no invariant has a name for it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, ClassVar

import pytest

from kon.backends.sim.faults import FaultRates
from kon.backends.sim.loop import SimLoop, current_host
from kon.core.errors import first_cause
from kon.core.kind import Attempt
from kon.core.queue import Delivery, Message
from kon.core.spec import Plugin
from kon.core.strategy import Claim, Strategy
from kon.core.task import Bundle, State, Task
from kon.engine.intake import Intake
from kon.engine.packing import chunks
from kon.engine.settler import Settler
from kon.engine.worker import Worker
from kon.strategies.conditional_put import ConditionalPut
from kon.trials.prove.playing import play
from kon.trials.prove.scenario import Scenario
from kon.trials.prove.watch import WatchedKind
from tests.engine.world import World, in_virtual_time

DUPLICATES = FaultRates(duplicate=0.15)

# --- poison ------------------------------------------------------------------------------------------


class Poison(WatchedKind):
    """Its task 0 kills whatever worker runs it."""

    name: ClassVar[str] = "poison"

    async def execute(self, body: Any, attempt: Attempt) -> Any:
        if attempt.index == 0:
            loop = asyncio.get_running_loop()
            assert isinstance(loop, SimLoop)
            loop.crash(current_host.get())
            await loop.create_future()
        return await super().execute(body, attempt)


async def _whole(intake: Intake, delivery: Delivery, bundle: Bundle, receives: int) -> None:
    """A bundle that is received again goes on as it is."""
    await intake._replace(delivery, [intake._settler.message(bundle.tasks, bundle, receives=receives - 1)])


def test_a_bundle_that_comes_again_is_split_so_that_poison_takes_no_other_task_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("kon.trials.prove.stage.WatchedKind", Poison)
    scenario = Scenario(Plugin("none"), tasks=3, bundle=3, workers=8, slots=1, failing=0.0, max_receives=3)
    apart = play(scenario, 1)
    assert (apart.states[State.DEAD], apart.states[State.DONE]) == (1, 2)
    monkeypatch.setattr(Intake, "_split", _whole)
    together = play(scenario, 1)
    assert together.states[State.DEAD] == 3


# --- tasks that cancel their own slot ----------------------------------------------------------------


async def _leave_them() -> None:
    return


def test_what_a_task_leaves_that_cancels_its_slot_ends_the_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = Scenario(Plugin("lease"), tasks=8, failing=0.0)
    assert play(scenario, 1).states[State.DONE] == 8
    monkeypatch.setattr("kon.engine.executor._take_back_cancels", _leave_them)
    with pytest.raises(ExceptionGroup) as raised:
        play(scenario, 1)
    assert str(first_cause(raised.value)) == "a worker's slot ended by itself"


# --- deferral ----------------------------------------------------------------------------------------


def test_a_deferral_counts_no_receipt_so_that_no_task_is_dead_while_it_runs_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scenario = Scenario(
        Plugin("lease"), tasks=1, task_s=300.0, spread=0.0, failing=0.0, max_receives=5, rates=DUPLICATES
    )
    message = Settler.message

    def counted(
        settler: Settler, tasks: list[Task], replaces: Bundle, receives: int = 0, **parts: Any
    ) -> Message:
        delayed = parts.get("delay_s", 0.0) > 0.0
        return message(settler, tasks, replaces, receives=receives + delayed, **parts)

    def dead(seeds: range) -> int:
        return sum(play(scenario, seed).states[State.DEAD] for seed in seeds)

    assert dead(range(20)) == 0
    monkeypatch.setattr(Settler, "message", counted)
    assert dead(range(20)) > 0


# --- a worker that is told to stop -------------------------------------------------------------------


class KeepsClaims(ConditionalPut):
    """Leaves the claims of what it has not started as they are."""

    async def release(self, claims: Sequence[Claim]) -> None:
        return


async def _gives_back_first(worker: Worker) -> None:
    """Messages are given back before the claims on their tasks are."""
    unstarted = worker._executor.withdraw(worker._executor.waiting)
    for job in unstarted:
        job.held.abandoned = True
    back = [held.delivery for held in dict.fromkeys(job.held for job in unstarted)]
    for batch in chunks(back, worker._queue.limits.max_batch):
        await worker._queue.extend(batch, 0)
    await asyncio.sleep(0.1)  # whoever waits for messages is quicker than the table
    await worker._strategy.release([job.claim for job in unstarted])
    await worker._executor.stop(worker.spec.drain_s)
    await worker._settler.drained()


def _lost_by_a_stop(strategy: type[Strategy]) -> int:
    """Tasks that are lost when one of two workers is told to stop while it holds more than it runs."""

    async def main() -> int:
        world = await World.create(40, prefetch=8)
        first, second = (world.worker(name, strategy) for name in "ab")

        async def stop_the_first() -> None:
            await asyncio.sleep(0.32)
            first.stop()

        stopping = asyncio.create_task(stop_the_first())
        tally = await world.run([{"s": 0.05}] * 40, first, second)
        await stopping
        assert world.events("give_back", "a") or world.events("down", "a")
        return tally.counts[State.LOST]

    return in_virtual_time(main())


def test_a_worker_that_stops_gives_back_its_claims_and_then_their_messages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert _lost_by_a_stop(ConditionalPut) == 0
    assert _lost_by_a_stop(KeepsClaims) > 0
    monkeypatch.setattr(Worker, "_drain", _gives_back_first)
    assert _lost_by_a_stop(ConditionalPut) > 0
