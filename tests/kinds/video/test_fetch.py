"""Fetching, from a server that does all that servers do."""

from __future__ import annotations

import asyncio
import errno
import gzip
import hashlib
import io
import os
import random
import tracemalloc
import zlib
from pathlib import Path
from typing import BinaryIO

import msgspec
import pytest
from aiohttp import ClientSession, web

from kon.kinds.video.fetch import Fetcher
from kon.kinds.video.server import FolderImages, Images, ImageServer
from kon.kinds.web.client import as_written
from kon.kinds.web.links import Guard
from tests.kinds.video.fetching import IMAGE, QUICK, answer, fetched, nothing_to_wait_for, refused, with_page
from tests.kinds.video.given import Site, run, site


def test_an_image_is_fetched() -> None:
    async def use(made: Site, link: str) -> None:
        assert await fetched(link) == IMAGE

    with_page(IMAGE, use)


@pytest.mark.parametrize("status", [500, 502, 503, 429, 408])
def test_what_may_pass_is_tried_again(status: int) -> None:
    tries = 0

    async def flaky(request: web.Request) -> web.Response:
        nonlocal tries
        tries += 1
        return web.Response(status=status) if tries < 3 else web.Response(body=IMAGE)

    async def use(made: Site, link: str) -> None:
        assert await fetched(link) == IMAGE
        assert len(made.asked) == 3

    with_page(flaky, use)


def test_tries_are_bounded() -> None:
    refused(answer(status=500), "its server answers 500 Internal Server Error, 4 times", asked=4)


@pytest.mark.parametrize("status", [404, 403, 410, 204])
def test_what_will_not_pass_is_not_tried_again(status: int) -> None:
    refused(answer(status=status), f"its server answers {status}")


def test_a_connection_that_breaks_off_is_tried_again() -> None:
    tries = 0

    async def breaking(request: web.Request) -> web.StreamResponse:
        nonlocal tries
        tries += 1
        response = web.StreamResponse()
        response.content_length = len(IMAGE)
        await response.prepare(request)
        if tries > 1:
            await response.write(IMAGE)
        else:
            await response.write(IMAGE[: len(IMAGE) // 2])
            assert request.transport is not None
            request.transport.abort()
        return response

    async def use(made: Site, link: str) -> None:
        assert await fetched(link) == IMAGE
        assert tries == 2

    with_page(breaking, use)


def test_a_page_is_no_image_and_the_rest_of_it_is_not_read() -> None:
    async def page(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_type = "image/jpeg"  # as it says; its bytes say otherwise
        await response.prepare(request)
        await response.write(b"<!DOCTYPE html><html>sign in first")
        await asyncio.Event().wait()  # the rest never comes
        return response

    refused(page, "a page of HTML")


def test_an_empty_body() -> None:
    refused(b"", "it is empty")


def test_a_byte_cap_by_what_is_announced_and_by_what_comes() -> None:
    small = msgspec.structs.replace(QUICK, max_bytes=len(IMAGE) - 1)
    refused(IMAGE, "more than .* bytes, and the option image_bytes", small)

    async def unannounced(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        while True:
            await response.write(IMAGE)

    refused(unannounced, "more than .* bytes", small)


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "deflate"])
def test_a_body_that_a_server_compresses_regardless_is_inflated(coding: str) -> None:
    body = zlib.compress(IMAGE) if coding == "deflate" else gzip.compress(IMAGE)

    async def use(made: Site, link: str) -> None:
        assert await fetched(link) == IMAGE

    with_page(answer(body=body, headers={"Content-Encoding": coding}), use)


def test_an_inflated_body_has_the_same_byte_cap() -> None:
    bomb = gzip.compress(b"\xff\xd8\xff\xe0" + bytes(50_000_000))
    small = msgspec.structs.replace(QUICK, max_bytes=1_000_000)
    tracemalloc.start()
    try:
        refused(answer(body=bomb, headers={"Content-Encoding": "gzip"}), "more than 1,000,000 bytes", small)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("coding", "body", "says", "asked"),
    [
        ("br", IMAGE, 'sends it as "br"', 1),
        ("gzip", IMAGE, "says that it is compressed", 1),
        ("gzip", gzip.compress(IMAGE)[:-500], "are cut short", 4),
    ],
)
def test_a_coding_that_can_not_be_undone(coding: str, body: bytes, says: str, asked: int) -> None:
    refused(answer(body=body, headers={"Content-Encoding": coding}), says, asked=asked)


@pytest.mark.parametrize(
    ("link", "sent"),
    [
        ("/a%2Fb?x=1%2B2&sig=a%2fb%3D", "/a%2Fb?x=1%2B2&sig=a%2fb%3D"),  # as signed, in either case
        ("/a?q=a+b;c,d", "/a?q=a+b;c,d"),
        ("/photo 1.jpg", "/photo%201.jpg"),
        ("/ž.jpg?q=é", "/%C5%BE.jpg?q=%C3%A9"),
        ("/a\r\nX: y", "/a%0D%0AX:%20y"),
    ],
)
def test_links_are_sent_as_they_are_written(link: str, sent: str) -> None:
    assert as_written(f"http://h{link}").raw_path_qs == sent


def test_a_query_arrives_to_the_letter() -> None:
    seen: list[str] = []

    async def page(request: web.Request) -> web.Response:
        seen.append(request.raw_path)
        return web.Response(body=IMAGE)

    async def use(made: Site, link: str) -> None:
        await fetched(link + "?X-Amz-Signature=a%2Fb%2b+c~")

    with_page(page, use)
    assert seen == ["/page?X-Amz-Signature=a%2Fb%2b+c~"]


def test_a_server_that_sends_a_byte_now_and_then_has_its_deadline() -> None:
    async def dripping(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for number in range(len(IMAGE)):
            await response.write(IMAGE[number : number + 1])
            await asyncio.sleep(0.05)
        return response

    refused(dripping, "did not come within 0.5 s", msgspec.structs.replace(QUICK, timeout_s=0.5))


def test_a_server_that_says_nothing_is_tried_again_within_the_deadline() -> None:
    tries = 0

    async def silent(request: web.Request) -> web.Response:
        nonlocal tries
        tries += 1
        if tries == 1:
            await asyncio.Event().wait()
        return web.Response(body=IMAGE)

    async def use(made: Site, link: str) -> None:
        assert await fetched(link, msgspec.structs.replace(QUICK, silence_s=0.2)) == IMAGE

    with_page(silent, use)


def test_waiting_for_room_is_not_held_against_the_server() -> None:
    async def slow_room(size_bytes: int) -> None:
        await asyncio.sleep(0.6)

    async def use(made: Site, link: str) -> None:
        limits = msgspec.structs.replace(QUICK, timeout_s=0.5)
        fetcher = Fetcher(limits, Guard(["loopback"]), random.Random(1))
        try:
            assert (await fetcher.image(link, slow_room)).data == IMAGE
        finally:
            await fetcher.close()

    with_page(IMAGE, use)


# --- many --------------------------------------------------------------------------------------------


def test_connections_are_bounded_and_used_again() -> None:
    async def main() -> None:
        async with site() as made:
            made.pages.update({f"{number}": IMAGE for number in range(40)})
            fetcher = Fetcher(
                msgspec.structs.replace(QUICK, connections=4), Guard(["loopback"]), random.Random(1)
            )
            try:
                links = [made.url(f"{number}") for number in range(40)]
                images = await asyncio.gather(*(fetcher.image(link, nothing_to_wait_for) for link in links))
            finally:
                await fetcher.close()
            assert [image.data for image in images] == [IMAGE] * 40
            assert len(made.peers) <= 4
            assert made.most_at_once <= 4

    run(main())


def test_many_are_fetched_at_once() -> None:
    all_there = asyncio.Event()

    async def main() -> None:
        async with site() as made:

            async def together(request: web.Request) -> web.Response:
                if made.at_once == 8:
                    all_there.set()
                await all_there.wait()
                return web.Response(body=IMAGE)

            made.pages["page"] = together
            fetcher = Fetcher(QUICK, Guard(["loopback"]), random.Random(1))
            try:
                link = made.url("page")
                await asyncio.gather(*(fetcher.image(link, nothing_to_wait_for) for _ in range(8)))
            finally:
                await fetcher.close()

    run(main())


def test_sound_is_not_sniffed() -> None:
    async def use(made: Site, link: str) -> None:
        assert await fetched(link, sound=True) == b"sounds like this"

    with_page(b"sounds like this", use)


def test_a_file_is_read_no_faster_than_there_is_room_for_it(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(IMAGE + bytes(1_000_000))
    asked: list[int] = []

    async def no_more(size_bytes: int) -> None:
        asked.append(size_bytes)
        if size_bytes > 400_000:
            raise KeyError("there is no room")

    async def main() -> None:
        fetcher = Fetcher(QUICK, Guard(["file"]), random.Random(1))
        try:
            with pytest.raises(KeyError, match="there is no room"):
                await fetcher.image(path.as_uri(), no_more)
        finally:
            await fetcher.close()

    run(main())
    assert 1 < len(asked) < 10
    assert max(asked) < 600_000


def test_an_image_that_breaks_off_as_it_is_read_leaves_no_file_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.jpg").write_bytes(b"a")
    opened: list[io.BufferedReader] = []

    def fails(content: io.BufferedReader, name: str) -> None:
        opened.append(content)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(hashlib, "file_digest", fails)
    with pytest.raises(OSError, match="Input/output error"):
        FolderImages(tmp_path).open("a.jpg")
    assert [each.closed for each in opened] == [True]


def test_a_server_never_has_an_image_in_memory_whole(tmp_path: Path) -> None:
    class Noted(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            assert size is not None
            assert 0 < size <= 100_000
            return super().read(size)

    class OneImage(Images):
        def open(self, name: str) -> tuple[BinaryIO, str]:
            return Noted(IMAGE * 20), "twenty"

    async def main() -> None:
        server = ImageServer(OneImage())
        await server.start()
        try:
            async with ClientSession() as session, session.get(f"{server.base}a.jpg") as reply:
                assert await reply.read() == IMAGE * 20
        finally:
            await server.close()

    run(main())
