"""Who runs next: a seed decides, its picks can be repeated, and all of them can be tried."""

from __future__ import annotations

import asyncio
import itertools

from kon.backends.sim.loop import SimLoop, simulate
from kon.backends.sim.schedule import Given, Schedule, Seeded, next_picks


def _order(schedule: Schedule | None, tasks: str = "abc", awaits: int = 3) -> str:
    """The order in which some tasks take their steps."""
    seen: list[str] = []

    async def step(name: str) -> None:
        for _ in range(awaits):
            seen.append(name)
            await asyncio.sleep(0)

    async def main() -> None:
        await asyncio.gather(*(step(name) for name in tasks))

    simulate(main(), SimLoop(schedule))
    return "".join(seen)


def test_a_seed_always_gives_the_same_order() -> None:
    assert [_order(Seeded(seed)) for seed in range(50)] == [_order(Seeded(seed)) for seed in range(50)]


def test_seeds_differ() -> None:
    assert len({_order(Seeded(seed)) for seed in range(50)}) > 40


def test_given_picks_repeat_a_seeds_order() -> None:
    for seed in range(20):
        seeded = Seeded(seed)
        order = _order(seeded)
        given = Given(seeded.picks)
        assert _order(given) == order
        assert given.picks == seeded.picks
        assert given.options == seeded.options


def test_no_picks_are_the_order_of_a_real_loop() -> None:
    assert _order(Given()) == _order(None) == "abcabcabc"


def test_a_pick_that_is_out_of_range_is_the_last_there_is() -> None:
    assert _order(Given([1_000])) == _order(Given([2]))


def _search(max_deviations: int) -> list[str]:
    found, picks = [], list[int]()
    while True:
        schedule = Given(picks)
        found.append(_order(schedule, "ab", awaits=2))
        following = next_picks(schedule, max_deviations)
        if following is None:
            return found
        picks = following


def test_the_systematic_search_finds_every_order() -> None:
    every = {"".join(order) for order in itertools.permutations("aabb")}
    assert set(_search(max_deviations=100)) == every


def test_the_systematic_search_tries_no_schedule_twice() -> None:
    schedules, picks = [], list[int]()
    while True:
        schedule = Given(picks)
        _order(schedule, "ab", awaits=2)
        schedules.append(tuple(schedule.picks))
        following = next_picks(schedule, max_deviations=100)
        if following is None:
            break
        picks = following
    assert len(schedules) == len(set(schedules)) > 6


def test_the_search_can_be_bounded() -> None:
    sizes = [len(_search(max_deviations)) for max_deviations in range(4)]
    assert sizes[0] == 1
    assert sizes == sorted(sizes)
    assert sizes[1] < sizes[3] <= len(_search(100))
