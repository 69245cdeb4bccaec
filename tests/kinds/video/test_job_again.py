"""The same job again: its key, what is fetched anew, and what is uploaded."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from kon.backends.memory.backend import MemoryObjects
from kon.kinds.video.film import Film
from kon.kinds.video.filming import JobRules
from kon.kinds.video.jobfile import VideoJob
from kon.kinds.video.notes import key_of
from tests.kinds.running import CountingObjects
from tests.kinds.video.given import SMALL, run, site
from tests.kinds.video.studio import Changing, colour, studio


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


def test_a_note_that_cant_be_read_is_none() -> None:
    """Whatever has damaged it: the job is done once more, and writes another."""

    async def main() -> None:
        objects = CountingObjects()
        async with site() as place, studio(objects) as works:
            place.pages["0"] = Changing(colour(0))
            job = VideoJob((place.url("0"),))
            first = await works.make(job)
            [note] = [key for key in objects.puts if key != first["key"]]
            objects._objects[note] = b"{"
            assert await works.make(job) == {**first, "uploaded": False}

    run(main())


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
