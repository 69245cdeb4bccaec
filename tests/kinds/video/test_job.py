"""Whole jobs: from links to a stored video, with all that can be wrong with images."""

from __future__ import annotations

import asyncio
import random
import tempfile
import threading
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from kon.backends.memory.objects import MemoryObjects
from kon.core.errors import KindError
from kon.core.objects import ObjectStore
from kon.kinds.pictures.crew import Crew
from kon.kinds.video import filming
from kon.kinds.video.fetch import Fetcher
from kon.kinds.video.film import Film
from kon.kinds.video.filming import JobRules
from kon.kinds.video.job import Studio
from kon.kinds.video.jobfile import VideoJob
from kon.kinds.video.notes import key_of
from kon.kinds.video.room import Room
from kon.kinds.web.limits import FetchLimits
from kon.kinds.web.links import Guard
from tests.kinds.pictures.test_header import bomb
from tests.kinds.video.given import SMALL, encoded, photo, plain, run, site, watch, ycbcr
from tests.kinds.video.test_encode import tone

LIMITS = FetchLimits(timeout_s=5.0, silence_s=2.0, backoff_s=0.001)
COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (255, 255, 0), (0, 255, 255))


class CountingObjects(MemoryObjects):
    def __init__(self) -> None:
        super().__init__()
        self.puts: list[str] = []

    async def put(self, key: str, file: Path) -> None:
        self.puts.append(key)
        await super().put(key, file)


@asynccontextmanager
async def studio(
    objects: ObjectStore, film: Film = SMALL, rules: JobRules | None = None, limits: FetchLimits = LIMITS
) -> AsyncIterator[Studio]:
    guard = Guard(["loopback"])
    fetcher = Fetcher(limits, guard, random.Random(1))
    crew = Crew(2)
    try:
        absolute = partial(guard.absolute, base=None)
        yield Studio(film, rules or JobRules(), objects, fetcher, absolute, crew)
    finally:
        await fetcher.close()
        await crew.close()


def colour(number: int) -> bytes:
    red, green, blue = COLOURS[number % len(COLOURS)]
    return encoded(plain(f"rgb({red},{green},{blue})", 320, 180))


async def shown(objects: MemoryObjects, key: str, folder: Path) -> list[int]:
    """Which of the colours each image of a video is."""
    await objects.get(key, folder / "got.mp4")
    video = watch(folder / "got.mp4")
    levels = [ycbcr(each)[0] for each in COLOURS]
    first = [int(luma[90, 160]) for luma in video.luma[:: SMALL.frames(SMALL.seconds)]]
    return [min(range(len(levels)), key=lambda n: abs(levels[n] - level)) for level in first]


def made(folder: Path, links: Sequence[str], pages: dict[str, Any], film: Film = SMALL, **rules: Any) -> Any:
    """The result of a job with links to pages, and the colours of its video."""

    async def main() -> Any:
        objects = MemoryObjects()
        async with site() as place, studio(objects, film, JobRules(**rules)) as works:
            place.pages.update(pages)
            job = VideoJob(tuple(place.url(link) if ":" not in link else link for link in links))
            result = await works.make(job)
        return result, await shown(objects, result["key"], folder)

    return run(main())


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


class Changing:
    """A page whose content may change, with an ETag where `tagged`."""

    def __init__(self, content: bytes, tagged: bool = True) -> None:
        self.content = content
        self._tagged = tagged
        self.methods: list[str] = []

    async def __call__(self, request: web.Request) -> web.Response:
        self.methods.append(request.method)
        response = web.Response(body=self.content)
        if self._tagged:
            response.etag = f"{zlib.crc32(self.content):x}"
        return response


def made_twice(page: Changing, then: bytes, **rules: Any) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """The results of the same job before and after its page changes, and what was stored by the second."""

    async def main() -> Any:
        objects = CountingObjects()
        async with site() as place, studio(objects, rules=JobRules(**rules)) as works:
            place.pages["0"] = page
            job = VideoJob((place.url("0"),))
            first = await works.make(job)
            page.content, puts = then, len(objects.puts)
            second = await works.make(job)
            assert await objects.size_bytes(first["key"])
        return first, second, objects.puts[puts:]

    return run(main())  # type: ignore[no-any-return]


def test_the_same_job_uploads_nothing_the_second_time() -> None:
    page = Changing(colour(0))
    first, second, puts = made_twice(page, colour(0))
    assert page.methods == ["GET", "HEAD"]
    assert puts == []
    assert first["uploaded"] is True
    assert second == {**first, "uploaded": False}


def test_what_a_link_leads_to_is_part_of_the_key() -> None:
    first, second, _ = made_twice(Changing(colour(0)), colour(1))
    assert second["key"] != first["key"]
    assert second["uploaded"] is True


def test_a_link_that_nothing_tells_from_a_later_one_is_fetched_again() -> None:
    page = Changing(colour(0), tagged=False)
    first, second, puts = made_twice(page, colour(0))
    assert page.methods == ["GET", "GET"]
    assert second == {**first, "uploaded": False}
    assert first["key"] not in puts
    first, second, _ = made_twice(Changing(colour(0), tagged=False), colour(1))
    assert second["key"] != first["key"]


def test_refresh_makes_a_video_whatever_is_stored() -> None:
    first, second, puts = made_twice(Changing(colour(0)), colour(0), refresh=True)
    assert first["key"] in puts
    assert second == first


def test_a_note_without_its_video_does_not_count(tmp_path: Path) -> None:
    async def main() -> None:
        objects = CountingObjects()
        async with site() as place, studio(objects) as works:
            place.pages["0"] = Changing(colour(0))
            job = VideoJob((place.url("0"),))
            first = await works.make(job)
            del objects._objects[first["key"]]
            assert (await works.make(job))["uploaded"] is True

    run(main())


def test_a_key_is_a_function_of_what_it_is_made_of_and_of_the_look() -> None:
    job = VideoJob(("http://a/1.jpg", "http://a/2.jpg"))
    given: list[tuple[Film, object]] = [
        (SMALL, job),
        (SMALL, VideoJob(job.links[::-1])),
        (SMALL, VideoJob(job.links, captions=("a", "b"))),
        (SMALL, VideoJob(job.links, audio="http://a/s.mp3")),
        (SMALL, (job, "/some/folder")),
        (msgspec.structs.replace(SMALL, crf=20.0), job),
        (msgspec.structs.replace(SMALL, format="mkv"), job),
    ]
    keys = [key_of(film, of, "mp4") for film, of in given]
    assert len(set(keys)) == len(keys)
    assert key_of(SMALL, VideoJob(("http://a/1.jpg", "http://a/2.jpg")), "mp4") == keys[0]
    assert keys[0].startswith("animoto/")
    assert keys[0].endswith(".mp4")


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


def test_work_in_a_thread_is_waited_for_when_its_job_is_cancelled() -> None:
    async def main() -> None:
        crew = Crew(1)
        began, go_on, ended = threading.Event(), threading.Event(), threading.Event()

        def work() -> None:
            began.set()
            go_on.wait()
            ended.set()

        task = asyncio.create_task(crew.do(work))
        while not began.is_set():  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()  # a second time: it waits all the same
        await asyncio.sleep(0)
        assert not task.done()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended.is_set()
        await crew.close()

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


def test_room_is_bounded_and_the_first_image_never_waits() -> None:
    async def main() -> None:
        room = Room(100)
        order: list[str] = []

        async def later() -> None:
            async with room.image(1):
                await room.hold(1, 60)
                order.append("later has 60")
                await room.hold(1, 90)
                order.append("later has 90")

        async def first() -> None:
            async with room.image(0):
                await room.hold(0, 30)
                while "later has 60" not in order:  # noqa: ASYNC110
                    await asyncio.sleep(0)
                for _ in range(5):
                    await asyncio.sleep(0)
                assert order == ["later has 60"]
                await room.hold(0, 500)
                order.append("the first has 500")

        await asyncio.gather(first(), later())
        assert order == ["later has 60", "the first has 500", "later has 90"]
        assert room.most_bytes == 560

    run(main())


def test_where_nobody_waits_for_another_the_first_image_waits_for_room_too_and_a_large_one_is_alone() -> None:
    room, order = Room(100, first_waits=True), []

    async def hold(number: int, size_bytes: int, until: asyncio.Event) -> None:
        async with room.image(number):
            await room.hold(number, size_bytes)
            order.append(number)
            await until.wait()

    async def main() -> None:
        done = [asyncio.Event() for _ in range(3)]
        holders = []
        for number, size_bytes in ((2, 70), (0, 60), (1, 500)):
            holders.append(asyncio.create_task(hold(number, size_bytes, done[number])))
            for _ in range(5):
                await asyncio.sleep(0)
        assert order == [2]
        done[2].set()
        await holders[0]
        done[0].set()
        await holders[1]
        done[1].set()
        await holders[2]
        assert order == [2, 0, 1]
        assert room.most_bytes == 500

    run(main())


def test_memory_for_fetched_images_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filming, "FETCHED_BYTES", 300_000)
    rooms: list[Room] = []

    class Noted(Room):
        def __init__(self, size_bytes: int, *, first_waits: bool = False) -> None:
            super().__init__(size_bytes, first_waits=first_waits)
            rooms.append(self)

    monkeypatch.setattr(filming, "Room", Noted)
    image = encoded(photo(900, 700))
    pages = {f"{number}": image for number in range(20)}
    result, _ = made(tmp_path, list(pages), pages)
    assert result["images"] == 20
    # what is over is the first image's, which never waits
    assert rooms[0].most_bytes <= 300_000 + len(image) + 64 * 1024


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


def test_a_changed_font_makes_another_video(tmp_path: Path) -> None:
    font = tmp_path / "own.ttf"
    film = msgspec.structs.replace(SMALL, caption_font=str(font))
    fonts = resources.files("matplotlib") / "mpl-data" / "fonts" / "ttf"
    font.write_bytes((fonts / "DejaVuSans.ttf").read_bytes())

    async def main() -> list[Any]:
        objects, found = MemoryObjects(), []
        async with site() as place, studio(objects, film) as works:
            place.pages["0"] = colour(0)
            plain_job, job = VideoJob((place.url("0"),)), VideoJob((place.url("0"),), captions=("Ours",))
            for name in ("DejaVuSans.ttf", "DejaVuSans.ttf", "DejaVuSerif.ttf"):
                font.write_bytes((fonts / name).read_bytes())
                found.append((await works.make(job), await works.make(plain_job)))
        return found

    (first, plain), (same, _), (other, still_plain) = run(main())
    assert same["key"] == first["key"]
    assert other["key"] != first["key"]
    assert other["uploaded"]
    assert still_plain["key"] == plain["key"]  # it has no text
