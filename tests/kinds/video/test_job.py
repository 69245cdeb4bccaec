"""Whole jobs: from links to a stored video, with all that can be wrong with images."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from kon.backends.memory.backend import MemoryObjects
from kon.core.errors import KindError
from kon.kinds.video.film import Film
from kon.kinds.video.jobfile import VideoJob
from tests.kinds.pictures.test_header import bomb
from tests.kinds.running import CountingObjects
from tests.kinds.video.filming import tone
from tests.kinds.video.given import SMALL, encoded, photo, plain, run, site, watch
from tests.kinds.video.studio import COLOURS, LIMITS, colour, made, shown, studio


@pytest.mark.parametrize("repeat", ["skip", "encode"])
def test_images_come_in_the_order_of_the_links_whichever_is_there_first(tmp_path: Path, repeat: Any) -> None:
    last_is_there = asyncio.Event()

    async def late(request: web.Request) -> web.Response:
        await last_is_there.wait()
        return web.Response(body=colour(0))

    async def last(request: web.Request) -> web.Response:
        last_is_there.set()
        return web.Response(body=colour(2))

    film = msgspec.structs.replace(SMALL, repeat=repeat)
    result, seen = made(tmp_path, ["0", "1", "2"], {"0": late, "1": colour(1), "2": last}, film)
    assert seen == [0, 1, 2]
    assert (result["images"], result["skipped"], result["uploaded"]) == (3, [], True)
    assert (result["duration_s"], result["repeat"]) == (1.5, repeat)
    assert result["size_bytes"] == (tmp_path / "got.mp4").stat().st_size


def test_more_images_than_are_held_at_once(tmp_path: Path) -> None:
    for repeat in ("skip", "encode"):
        film = msgspec.structs.replace(SMALL, repeat=repeat, seconds=0.2)
        pages = {f"{number}": colour(number) for number in range(6)}
        links = [f"{number % 6}" for number in range(40)]
        result, _ = made(tmp_path, links, pages, film)
        assert (result["skipped"], result["images"]) == ([], 40)


def test_links_that_come_twice_and_arrive_together_keep_their_own_images(tmp_path: Path) -> None:
    asked: set[str] = set()
    all_asked = asyncio.Event()

    async def together(request: web.Request) -> web.Response:
        name = request.path.removeprefix("/")
        asked.add(name)
        if len(asked) == len(COLOURS):
            all_asked.set()
        await all_asked.wait()
        return web.Response(body=colour(int(name)))

    names = [str(number) for number in range(len(COLOURS))]
    result, seen = made(tmp_path, names * 2, dict.fromkeys(names, together))
    assert (result["skipped"], seen) == ([], [*range(len(COLOURS))] * 2)


@pytest.mark.parametrize("repeat", ["skip", "encode"])
def test_a_link_is_fetched_once_however_often_it_is_there(tmp_path: Path, repeat: Any) -> None:
    film = msgspec.structs.replace(SMALL, repeat=repeat)

    async def main() -> None:
        objects = MemoryObjects()
        async with site() as place, studio(objects, film) as works:
            place.pages.update({"0": colour(0), "1": colour(1)})
            links = [place.url(each) for each in ("0", "1", "0", "gone", "0", "gone")]
            links[2] = f" {links[2]}\t"
            result = await works.make(VideoJob(tuple(links), captions=("", "", "", "", "a", "")))
            assert sorted(place.asked) == ["0", "1", "gone"]
            assert [each["image"] for each in result["skipped"]] == [4, 6]
            assert {each["reason"] for each in result["skipped"]} == {"its server answers 404 Not Found"}
        assert (await shown(objects, result["key"], tmp_path))[:4] == [0, 1, 0, 0]

    run(main())


def test_each_bad_image_is_left_out_with_its_reason(tmp_path: Path) -> None:
    good = encoded(photo())

    async def dripping(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"\xff\xd8\xff\xe0")
            await asyncio.sleep(0.1)

    async def loop(request: web.Request) -> web.Response:
        raise web.HTTPFound(request.path)

    bad: dict[str, tuple[Any, str]] = {
        "page.jpg": (b"<html>please sign in</html>", "it is a page of HTML"),
        "empty.jpg": (b"", "it is empty"),
        "short.jpg": (good[: len(good) // 2], "corrupt or cut short"),
        "broken.jpg": (good[:9_000] + bytes(2_000) + good[11_000:], "corrupt or cut short"),
        "bomb.png": (
            bomb(30_000, 30_000),
            "30000 x 30000 pixels, 900.0 megapixels; the option max_megapixels",
        ),
        "wide.png": (bomb(60_000, 1_000), "takes 360 MB to decode; 220 are allowed"),
        "loop.jpg": (loop, "redirects more than 5 times"),
        "drip.jpg": (dripping, "did not come within 1 s"),
        "a.pdf": (b"%PDF-1.7" + bytes(50), "it is a PDF"),
        "none.jpg": (None, "its server answers 404 Not Found"),
        "file:///etc/passwd": (None, "a file:, which is refused"),
        "http://169.254.169.254/latest/": (None, "a link-local address, which is refused"),
        "http://10.1.2.3/a.jpg": (None, "a private address, which is refused"),
    }
    pages = {name: page for name, (page, _) in bad.items() if page is not None}

    async def main() -> Any:
        objects = CountingObjects()
        limits = msgspec.structs.replace(LIMITS, timeout_s=1.0)
        async with site() as place, studio(objects, limits=limits) as works:
            place.pages.update({**pages, "0": colour(0), "1": colour(1)})
            links = [place.url(name) if ":" not in name else name for name in ("0", *bad, "1")]
            result = await works.make(VideoJob(tuple(links)))
            again = await works.make(VideoJob(tuple(links)))
        return result, again, await shown(objects, result["key"], tmp_path), objects.puts

    result, again, seen, puts = run(main())
    assert seen == [0, 1]
    assert (result["images"], result["skipped_images"]) == (2, len(bad))
    found = {each["image"]: each for each in result["skipped"]}
    for number, (name, (_, says)) in enumerate(bad.items(), start=2):
        assert says in found[number]["reason"], name
        assert found[number]["link"].endswith(name)
    # what is not there today may be tomorrow
    assert again == {**result, "uploaded": False}
    assert puts == [result["key"]]


def test_too_few_images_fail_the_job_with_the_reasons(tmp_path: Path) -> None:
    with pytest.raises(
        KindError, match="only 2 of 3 images are good, and min_images asks for 3: image 2: its server"
    ):
        made(tmp_path, ["0", "none", "1"], {"0": colour(0), "1": colour(1)}, min_images=3)
    with pytest.raises(KindError, match="only 0 of 1 images") as raised:
        made(tmp_path, ["none"], {})
    assert raised.value.result["skipped"][0]["image"] == 1
    with pytest.raises(KindError, match=r"^the job has 1 image, and min_images asks for 3$"):
        made(tmp_path, ["0"], {"0": colour(0)}, min_images=3)


@pytest.mark.parametrize("repeat", ["skip", "encode"])
def test_a_cancelled_job_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repeat: Any
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    busy = threading.Event()

    async def main() -> None:
        objects = CountingObjects()
        film = msgspec.structs.replace(SMALL, repeat=repeat)
        async with site() as place, studio(objects, film) as works:
            never = asyncio.Event()

            async def waiting(request: web.Request) -> web.Response:
                busy.set()
                await never.wait()
                raise AssertionError

            place.pages.update({"0": colour(0), "1": waiting})
            task = asyncio.create_task(works.make(VideoJob((place.url("0"), place.url("1")))))
            while not busy.is_set():  # noqa: ASYNC110 - until the server has been asked
                await asyncio.sleep(0.01)
            assert list(tmp_path.iterdir())
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert list(tmp_path.iterdir()) == []
            assert objects.puts == []
            assert not [each for each in asyncio.all_tasks() if "prepared" in repr(each.get_coro())]

    run(main())


def test_the_event_loop_goes_on_while_pictures_are_made(tmp_path: Path) -> None:
    async def main() -> None:
        objects = MemoryObjects()
        film = Film(repeat="encode")
        async with site() as place, studio(objects, film) as works:
            place.pages["0"] = encoded(photo(2_000, 1_500))
            task = asyncio.create_task(works.make(VideoJob((place.url("0"),))))
            turns = 0
            while not task.done():
                turns += 1
                await asyncio.sleep(0.001)
            await task
            assert turns > 20  # a loop that stood still for the second or so would have had a handful

    run(main())


def test_captions_and_sound_are_part_of_the_video(tmp_path: Path) -> None:
    async def main() -> None:
        objects = MemoryObjects()
        async with site() as place, studio(objects) as works:
            place.pages.update({"0": encoded(plain("black", 320, 180)), "s": tone(1.0)})
            job = VideoJob((place.url("0"), place.url("0")), ("", "HELLO"), place.url("s"))
            result = await works.make(job)
            await objects.get(result["key"], tmp_path / "v.mp4")
            video = watch(tmp_path / "v.mp4")
            assert video.luma[0].max() < 60
            assert video.luma[SMALL.frames(SMALL.seconds)].max() > 150
            with pytest.raises(KindError, match="the audio can't be had: its server answers 404"):
                await works.make(VideoJob(job.links, audio=place.url("none")))

    run(main())
