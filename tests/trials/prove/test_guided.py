"""The guided search: what it keeps, how it varies that, and that all of it can be repeated."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter

import msgspec
import pytest

from kon.backends.sim.faults import FaultRates
from kon.backends.sim.loop import SimLoop, simulate
from kon.backends.sim.schedule import Given, Prioritized, Seeded
from kon.core.spec import Plugin
from kon.trials.prove.classes import fault_class
from kon.trials.prove.counterexample import taken_from
from kon.trials.prove.drawn import SCENARIO, Try
from kon.trials.prove.guided import CAMPAIGN, campaign, try_again
from kon.trials.prove.invariants import Invariant
from kon.trials.prove.scenario import play
from kon.trials.prove.search import Cell, search
from kon.trials.prove.sights import Sights
from tests.cli.given import invoke

LEASE = Plugin("lease")
REOPENED = Plugin("tests.trials.prove.ablations:SameTokenOnCommit")
ALL = fault_class("all")
SMALL = msgspec.structs.replace(SCENARIO, tasks=3, workers=2)


def tries(count: int, first: int = 0) -> list[Try]:
    return list(campaign(SMALL, LEASE, ALL, first, count))


# --- campaigns ---------------------------------------------------------------------------------------


def test_a_campaign_is_the_same_each_time_and_any_schedule_of_it_can_be_repeated() -> None:
    played = tries(25, first=CAMPAIGN)
    assert played == tries(25, first=CAMPAIGN)
    assert try_again(SMALL, LEASE, ALL, CAMPAIGN + 20) == played[20]
    assert played != tries(25, first=2 * CAMPAIGN)


def test_it_varies_what_came_by_something_new(monkeypatch: pytest.MonkeyPatch) -> None:
    def varied() -> int:
        seeds = Counter(each.played.seed for each in tries(40) if each.played is not None)
        return sum(seeds.values()) - len(seeds)

    assert varied() > 5
    for note in ("happened", "fired", "struck"):
        monkeypatch.setattr(Sights, note, lambda *_: None)
    assert varied() == 0, "nothing is new where nobody looks"


def test_a_varied_schedule_has_other_faults_or_another_order() -> None:
    seen = set()
    for each in tries(40):
        assert each.played is not None
        seen.add((each.played.seed, tuple(each.played.fired), tuple(each.played.picks)))
    assert len(seen) > 35


def test_only_faults_that_may_strike_do() -> None:
    crashes = fault_class("crash")
    for each in campaign(SMALL, LEASE, crashes, 0, 40):
        assert each.played is not None
        assert {fault.fault for fault in each.played.fired} <= {"crash"}


def test_what_it_finds_can_be_replayed_as_any_other_break() -> None:
    found = next(
        (each, one.invariant)
        for each in campaign(SCENARIO, REOPENED, ALL, 0)
        if each.played is not None
        for one in each.played.broken
    )
    again, invariant = found
    assert again.played is not None
    example = taken_from(again.played, again.scenario, invariant)
    assert example.break_in(example.replay()) is not None


def test_the_findings_do_not_depend_on_the_processes() -> None:
    cells = [Cell(LEASE, ALL, CAMPAIGN // 10, first=0, guided=True)]
    assert search(cells, SMALL, jobs=1) == search(cells, SMALL, jobs=2)


def test_noting_sights_changes_no_schedule() -> None:
    for seed in range(5):
        scenario = msgspec.structs.replace(SMALL, strategy=LEASE, rates=ALL.rates)
        assert play(scenario, seed, sights=Sights()) == play(scenario, seed)


# --- sights ------------------------------------------------------------------------------------------


def test_the_same_things_in_another_order_or_by_another_host_are_another_sight() -> None:
    def seen(*happened: tuple[str, str]) -> set[object]:
        sights = Sights()
        for what, host in happened:
            sights.happened(what, 0, host)
        return set(sights.seen)

    alone = seen(("asks", "w1"), ("starts", "w1"))
    assert alone == seen(("asks", "w2"), ("starts", "w2"))
    assert alone != seen(("asks", "w1"), ("starts", "w2"))
    assert alone != seen(("starts", "w1"), ("asks", "w1"))


def test_a_fault_is_seen_with_the_line_of_the_engine_that_it_strikes() -> None:
    sights = Sights()
    rates = FaultRates(write_reply_lost=0.3, crash=1.0)
    scenario = msgspec.structs.replace(SMALL, strategy=LEASE, rates=rates, horizon=60)
    assert play(scenario, 1, sights=sights).fired
    told = sorted(map(str, sights.seen))
    assert any("write_reply_lost" in each and "/strategies/lease.py" in each for each in told), told
    assert any("'crash'" in each and "/engine/worker.py" in each for each in told), told


# --- priorities --------------------------------------------------------------------------------------


def turns(schedule: Prioritized | Given | Seeded) -> list[int]:
    """Who ran, of three that take ten turns each."""
    ran: list[int] = []

    async def main() -> None:
        async def take(number: int) -> None:
            for _ in range(10):
                ran.append(number)
                await asyncio.sleep(0)

        async with asyncio.TaskGroup() as group:
            for number in range(3):
                group.create_task(take(number))

    simulate(main(), SimLoop(schedule))
    return ran


def switches(ran: list[int]) -> int:
    return sum(one != other for one, other in itertools.pairwise(ran))


def test_one_that_is_ahead_stays_ahead() -> None:
    """At random three that take turns are changed about twenty times; by priorities a few."""
    prioritized = [switches(turns(Prioritized(seed, changes=0))) for seed in range(20)]
    seeded = [switches(turns(Seeded(seed))) for seed in range(20)]
    assert sum(prioritized) < sum(seeded) / 2


def test_priorities_change_where_they_are_drawn_to() -> None:
    assert any(turns(Prioritized(seed, 0)) != turns(Prioritized(seed, 3, within=10)) for seed in range(10))


def test_a_schedule_by_priorities_can_be_repeated() -> None:
    schedule = Prioritized(3)
    ran = turns(schedule)
    assert ran == turns(Prioritized(3)) == turns(Given(schedule.picks))


def test_none_is_kept_waiting_for_ever() -> None:
    """One that asks again and again, and has the highest priority, waits for another."""

    async def main() -> None:
        told = False

        async def tell() -> None:
            nonlocal told
            told = True

        telling = asyncio.create_task(tell())
        while not told:  # noqa: ASYNC110 # as code does that asks for news without a pause
            await asyncio.sleep(0)
        await telling

    for seed in range(20):
        simulate(main(), SimLoop(Prioritized(seed), max_steps=2_000))


def test_picks_can_be_given_and_go_on_at_random() -> None:
    begun = turns(Seeded(1))
    schedule = Seeded(1)
    turns(schedule)
    cut = Given(schedule.picks[:8], then=2)
    assert turns(cut) != begun
    assert cut.picks[:8] == schedule.picks[:8]
    assert any(cut.picks[8:])


# --- the command -------------------------------------------------------------------------------------


def test_the_command_searches_and_repeats_what_it_found() -> None:
    words = ["prove", REOPENED.name, "--guided", "--fault", "all", "--no-story", "--json"]
    done = invoke(*words, "--seeds", "40", "--jobs", "1", "-q")
    assert done.exit_code == 1, done.output
    (found,) = json.loads(done.output)["breaks"]
    assert found["invariant"] == Invariant.ONE_RESULT
    assert found["replay"].endswith("--guided")
    again = invoke(*words, "--seed", str(found["seed"]))
    assert again.exit_code == 1, again.output
    assert [each["invariant"] for each in json.loads(again.output)["breaks"] if each["promised"]]


def test_the_small_model_is_searched_without_a_guide() -> None:
    done = invoke("prove", "lease", "--guided", "--exhaustive")
    assert done.exit_code == 2
    assert "--exhaustive" in done.output
