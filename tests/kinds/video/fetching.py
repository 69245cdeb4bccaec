"""What tests of fetching share: an image, a server with one page, and how its link is refused."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from kon.kinds.video.fetch import Fetcher
from kon.kinds.web.limits import BadLink, FetchLimits
from kon.kinds.web.links import Guard
from tests.kinds.video.given import Site, encoded, photo, run, site

IMAGE = encoded(photo(320, 240))

QUICK = FetchLimits(timeout_s=10.0, silence_s=5.0, backoff_s=0.001)


async def nothing_to_wait_for(size_bytes: int) -> None:
    return


async def fetched(
    link: str, limits: FetchLimits = QUICK, guard: Guard | None = None, sound: bool = False
) -> bytes:
    fetcher = Fetcher(limits, guard or Guard(["loopback"]), random.Random(1))
    try:
        got = await (fetcher.sound(link) if sound else fetcher.image(link, nothing_to_wait_for))
        return got.data
    finally:
        await fetcher.close()


def with_page(page: Any, use: Callable[[Site, str], Awaitable[None]]) -> None:
    async def main() -> None:
        async with site() as made:
            made.pages["page"] = page
            await use(made, made.url("page"))

    run(main())


def refused(page: Any, says: str, limits: FetchLimits = QUICK, asked: int = 1, **given: Any) -> None:
    async def use(made: Site, link: str) -> None:
        with pytest.raises(BadLink, match=says):
            await fetched(link, limits, **given)
        assert len(made.asked) == asked

    with_page(page, use)


def answer(**given: Any) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(**given)

    return answer
