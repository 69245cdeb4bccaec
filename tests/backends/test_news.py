"""Word of a change reaches whoever waits, and whoever was about to."""

from __future__ import annotations

import asyncio

from kon.backends.sim.loop import SimLoop, simulate
from kon.backends.sqlite.queue import News


def test_a_change_between_looking_and_waiting_is_not_missed() -> None:
    async def use() -> None:
        news = News()
        seen = news.changes
        news.spread()
        await news.wait(seen, 1_000.0)
        assert asyncio.get_running_loop().time() == 0.0

    simulate(use(), SimLoop())


def test_a_change_wakes_everyone_and_no_one_later() -> None:
    async def use() -> None:
        news = News()
        waiting = [asyncio.create_task(news.wait(0, 1_000.0)) for _ in range(3)]
        await asyncio.sleep(1.0)
        news.spread()
        await asyncio.gather(*waiting)
        assert asyncio.get_running_loop().time() == 1.0
        await news.wait(news.changes, 5.0)
        assert asyncio.get_running_loop().time() == 6.0
        assert not news._listeners

    simulate(use(), SimLoop())
