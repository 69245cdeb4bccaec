"""How many calls are in flight, and how long they pause."""

from __future__ import annotations

import asyncio
import random
from functools import partial

import pytest

from kon.backends.aws.pace import FIRST_PAUSE_S, LONGEST_PAUSE_S, Pace, backoff_s, side_by_side
from kon.backends.sim.loop import SimLoop, simulate
from kon.core.errors import BackendUnavailable


class Service:
    """Takes a second for a call. most: that were ever in flight. down: whether it turns calls down."""

    def __init__(self) -> None:
        self.in_flight = self.most = 0
        self.down = False

    async def call(self) -> bool:
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        await asyncio.sleep(1.0)
        self.in_flight -= 1
        return self.down


def test_it_grows_to_its_cap_and_no_further() -> None:
    async def body() -> None:
        pace, service = Pace(8, random.Random(1), start=2), Service()
        await asyncio.gather(*[pace.run(service.call) for _ in range(2)])
        assert service.most == 2
        await asyncio.gather(*[pace.run(service.call) for _ in range(200)])
        assert service.most == 8
        assert pace.limit == 8.0
        assert pace.in_flight == 0

    simulate(body(), SimLoop(limit_s=1_000.0))


def test_callers_get_their_turns_in_the_order_in_which_they_came() -> None:
    async def body() -> None:
        pace, begun, rng = Pace(4, random.Random(1), start=4), list[int](), random.Random(2)

        async def call(number: int) -> None:
            begun.append(number)
            await asyncio.sleep(rng.uniform(1.0, 2.0))

        await asyncio.gather(*[pace.run(partial(call, number)) for number in range(40)])
        assert begun == list(range(40))

    simulate(body(), SimLoop(limit_s=1_000.0))


def test_throttles_of_calls_in_flight_together_halve_it_once() -> None:
    async def body() -> None:
        pace, service = Pace(8, random.Random(1), start=8), Service()
        service.down = True
        await asyncio.gather(*[pace.run(service.call, bool) for _ in range(8)])
        assert pace.limit == 4.0
        service.most = 0
        await asyncio.gather(*[pace.run(service.call, bool) for _ in range(12)])
        assert service.most == 4
        assert pace.limit == 1.0
        service.down = False
        await pace.run(service.call, bool)
        assert pace.limit == 2.0

    simulate(body(), SimLoop(limit_s=1_000.0))


def test_a_service_that_does_not_answer_halves_it_too() -> None:
    async def fail() -> None:
        raise BackendUnavailable("down")

    async def body() -> None:
        pace = Pace(8, random.Random(1), start=4)
        with pytest.raises(BackendUnavailable):
            await pace.run(fail)
        assert (pace.limit, pace.in_flight) == (2.0, 0)

    simulate(body(), SimLoop(limit_s=1_000.0))


def test_a_caller_that_is_cancelled_while_it_waits_takes_nobodys_turn() -> None:
    async def body() -> None:
        pace, service = Pace(1, random.Random(1), start=1), Service()
        _, second, third = [asyncio.create_task(pace.run(service.call)) for _ in range(3)]
        await asyncio.sleep(0.5)
        second.cancel()
        await third
        assert second.cancelled()
        assert pace.in_flight == 0

    simulate(body(), SimLoop(limit_s=1_000.0))


def test_a_caller_that_is_cancelled_as_its_turn_comes_passes_it_on() -> None:
    async def body() -> None:
        pace, service = Pace(1, random.Random(1), start=1), Service()
        others: list[asyncio.Task[bool]] = []

        async def call() -> None:
            others.extend(asyncio.create_task(pace.run(service.call)) for _ in range(2))
            await asyncio.sleep(1.0)

        await pace.run(call)  # the turn is the second's now, which has not run since
        second, third = others
        second.cancel()
        await third
        assert second.cancelled()
        assert pace.in_flight == 0

    simulate(body(), SimLoop(limit_s=1_000.0))


def test_pauses_are_drawn_from_all_of_a_growing_span() -> None:
    rng = random.Random(1)
    for tries, span_s in ((1, FIRST_PAUSE_S), (3, 4 * FIRST_PAUSE_S), (40, LONGEST_PAUSE_S)):
        drawn_s = [backoff_s(rng, tries) for _ in range(500)]
        assert 0 <= min(drawn_s) < 0.05 * span_s
        assert 0.95 * span_s < max(drawn_s) <= span_s


def test_an_error_waits_for_the_others() -> None:
    ended = []

    async def work(number: int) -> None:
        await asyncio.sleep(number)
        if number == 1:
            raise ValueError("first")
        ended.append(number)

    async def body() -> None:
        with pytest.raises(ValueError, match="first"):
            await side_by_side([work(number) for number in range(4)])
        assert ended == [0, 2, 3]

    simulate(body(), SimLoop(limit_s=1_000.0))
