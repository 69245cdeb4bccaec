"""What the key of a result knows of its input and its options. docs/kinds.md has the table.

A new option has to be put on one of these lists: it changes the key, or it can't change what is stored,
or nothing that was made under another value is ever taken up.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from kon.backends.memory.backend import MemoryObjects
from kon.core.kind import Attempt
from kon.core.options import SET_BY_WORKER
from kon.kinds.animoto import AnimotoOptions
from kon.kinds.image import Image, ImageOptions
from kon.kinds.mirror import LinkItem, Mirror, MirrorOptions, key_of, parse_item
from kon.kinds.stored import OutputKey
from kon.kinds.transcode import Transcode, TranscodeOptions
from kon.kinds.video.film import Film
from kon.kinds.video.jobfile import VideoJob
from kon.kinds.video.notes import key_of as video_key
from kon.kinds.video.notes import made_of
from tests.kinds.running import CountingObjects
from tests.kinds.video.given import encoded, photo

LOOKS: Final[dict[str, dict[str, Any]]] = {
    "size": {"size": "640x360"},
    "seconds": {"seconds": 2.0},
    "fps": {"fps": 30},
    "format": {"format": "mkv"},
    "repeat": {"repeat": "encode"},
    "preset": {"preset": "fast"},
    "crf": {"crf": 20.0},
    "transition": {"transition": "dip_black"},
    "transition_s": {"transition": "dip_black", "transition_s": 0.2},
    "crossfade_s": {"crossfade_s": 0.2},
    "fade_in_s": {"fade_in_s": 0.2},
    "fade_out_s": {"fade_out_s": 0.2},
    "zoom": {"zoom": 1.1},
    "focus": {"focus": (0.1, 0.2)},
    "background": {"background": "red"},
    "fit": {"fit": "blur"},
    "title": {"title": "A"},
    "title_s": {"title_s": 1.0},
    "title_background": {"title_background": "red"},
    "end": {"end": "A"},
    "end_s": {"end_s": 1.0},
    "end_background": {"end_background": "red"},
    "poster": {"poster": "png"},
    "audio_loop": {"audio_loop": True},
    "audio_fade_s": {"audio_fade_s": 1.0},
    "caption_font": {"caption_font": "Serif"},
    "caption_size": {"caption_size": 0.1},
    "caption_position": {"caption_position": "top"},
}
"""Options of a look, with what changes them."""

NOT_OF_THE_VIDEO: Final = {
    "url_expires_s": "of the link, which is made for each result",
    "min_images": "says whether a job fails",
    "images": "a folder whose images count by their content; the note has its name",
    "allow": "says which links are followed; what comes counts by its content, what is left out as well",
    "connections": "of the download",
    "image_timeout_s": "of the download",
    "image_bytes": "what is too large is left out, and that is in the key",
    "audio_bytes": "what is too large fails the job",
    "max_megapixels": "what is too large is left out, and that is in the key",
    "threads": "the same video comes out of any number",
    "refresh": "says that nothing is taken up",
}
"""The other options of `animoto`, with the reason why the key does without."""


def test_each_option_of_a_look_changes_the_key_of_a_video() -> None:
    assert set(LOOKS) == set(Film.__struct_fields__), "a new option: say what changes it"
    keys = [video_key(Film(**changed), "job", "mp4") for changed in ({}, *LOOKS.values())]
    assert len(set(keys)) == len(keys)


def test_no_option_of_animoto_is_forgotten() -> None:
    others = set(AnimotoOptions.__struct_fields__) - set(Film.__struct_fields__) - SET_BY_WORKER
    assert others == set(NOT_OF_THE_VIDEO), "a new option: does it change the video?"


JOBS: Final[dict[str, Any]] = {
    "links": ("http://h/b",),
    "captions": ("words",),
    "audio": "http://h/a.mp3",
    "seconds": (2.0,),
    "beats": (2.0,),
    "focus": ((0.1, 0.2),),
    "look": {"zoom": 1.1},
}


def test_each_part_of_a_job_changes_the_key_of_its_note() -> None:
    assert set(JOBS) == set(VideoJob.__struct_fields__), "a new key of a job: say what changes it"
    job = VideoJob(("http://h/a",))
    changed = [msgspec.structs.replace(job, **{name: value}) for name, value in JOBS.items()]
    keys = [video_key(Film(), (each, place), "json") for each in (job, *changed) for place in ("", "photos")]
    assert len(set(keys)) == len(keys)


def test_each_part_of_a_job_changes_the_key_of_its_video_but_for_what_counts_by_its_content() -> None:
    job = VideoJob(("http://h/a",))
    same = {
        name
        for name, value in JOBS.items()
        if made_of(msgspec.structs.replace(job, **{name: value})) == made_of(job)
    }
    # links and sound: by digests of what they lead to. A job's look is part of its film
    assert same == {"links", "audio", "look"}


# --- kinds whose outputs are made again by each attempt ---------------------------------------------------


@pytest.mark.parametrize("kind", ["image", "transcode"])
def test_a_key_of_the_runs_own_has_the_run_and_the_task_in_it(kind: str) -> None:
    key = OutputKey(kind, None)
    attempts = [Attempt(run, index, 1) for run in ("a", "b") for index in (0, 1)]
    keys = {key.of("item", each, suffix) for each in attempts for suffix in ("png", "jpg")}
    assert len(keys) == 8
    assert key.of("item", Attempt("a", 0, 1), "png") == key.of("item", Attempt("a", 0, 2), "png")


FFMPEG: Final = '#!/bin/sh\nfor last; do :; done\nprintf "%s\\n" "$@" > "${last#file:}"\n'
"""Makes a file of its own arguments."""

IMAGES: Final[dict[str, dict[str, Any]]] = {
    "equalize": {"equalize": "clahe"},
    "channels": {"equalize": "global", "channels": "each"},
    "tiles": {"equalize": "clahe", "tiles": [2, 2]},
    "clip": {"equalize": "clahe", "clip": 3.0},
    "resize": {"resize": "20x20"},
    "thumbnail": {"thumbnail": "20x20"},
    "format": {"format": "webp"},
    "quality": {"quality": 10},
    "key": {"key": "other/{/}"},
    "max_bytes": {"max_bytes": 10_000_000},
    "max_megapixels": {"max_megapixels": 10},
}
TRANSCODES: Final[dict[str, dict[str, Any]]] = {
    "to": {"to": "mkv"},
    "args": {"args": "-an"},
    "input_args": {"input_args": "-t 1"},
    "key": {"key": "other/{/}"},
    "formats": {"formats": ["mov"]},
    "ffmpeg": {},
    "max_bytes": {"max_bytes": 10_000_000},
    "kill_grace_s": {"kill_grace_s": 1.0},
}


def remade(folder: Path, make: Callable[[dict[str, Any]], Any], options: dict[str, dict[str, Any]]) -> None:
    """The same task of the same run, with other options each time, on the same store: all is made again."""

    async def main() -> None:
        objects = CountingObjects()
        (folder / "given").write_bytes(encoded(photo(64, 48)))
        await objects.put("in.jpg", folder / "given")
        for changed in ({}, *options.values(), {}):
            kind = make(changed)
            await kind.open(objects)
            before = len(objects.puts)
            await kind.execute("in.jpg", Attempt("run", 0, 1))
            assert len(objects.puts) == before + 1, changed
            await kind.close()

    asyncio.run(main())


def test_image_takes_up_nothing_that_was_made_with_other_options(tmp_path: Path) -> None:
    assert set(IMAGES) == set(ImageOptions.__struct_fields__) - SET_BY_WORKER, (
        "a new option: put it on the list"
    )
    remade(tmp_path, lambda changed: Image({"format": "jpeg", **changed}), IMAGES)


def test_transcode_takes_up_nothing_that_was_made_with_other_options(tmp_path: Path) -> None:
    assert set(TRANSCODES) == set(TranscodeOptions.__struct_fields__) - SET_BY_WORKER, (
        "a new option: put it on the list"
    )
    (tmp_path / "ffmpeg").write_text(FFMPEG)
    (tmp_path / "ffmpeg").chmod(0o755)
    usual = {"to": "mp4", "ffmpeg": str(tmp_path / "ffmpeg")}
    remade(tmp_path, lambda changed: Transcode({**usual, **changed}), TRANSCODES)


# --- mirror -----------------------------------------------------------------------------------------------

NOT_OF_THE_COPY: Final = {
    "link_bytes": "what is too large fails",
    "link_timeout_s": "of the download",
    "tries": "of the download",
    "redirects": "of the download",
    "backoff_s": "of the download",
    "allow": "says which links are followed",
    "images": "a folder: its server says by each image's ETag whether it is the same",
}
ITEMS: Final = {
    "link": {"link": "https://h/b.jpg"},
    "key": {"key": "k"},
    "checksum": {"checksum": "md5:" + 32 * "0"},
    "size_bytes": {"size_bytes": 5},
}


def test_the_key_of_a_copy_knows_its_link_and_a_note_knows_its_content() -> None:
    assert set(MirrorOptions.__struct_fields__) - SET_BY_WORKER == {"prefix", *NOT_OF_THE_COPY}
    assert set(ITEMS) == set(LinkItem.__struct_fields__)
    links = [
        "https://h/a.jpg",
        "https://h/b.jpg",
        "https://i/a.jpg",
        "https://h:1/a.jpg",
        "https://h/a.jpg?x",
    ]
    keys = {key_of(parse_item(link), prefix) for link in links for prefix in ("mirror", "web")}
    assert len(keys) == 2 * len(links)
    # a checksum or a size that differs from the copy's has it fetched again: tests/kinds/test_mirror.py


def test_a_copy_of_another_folders_image_is_not_taken_for_the_same(tmp_path: Path) -> None:
    """Same name, same size, same time."""

    async def main() -> None:
        objects = MemoryObjects()
        for number in range(3):
            folder = tmp_path / f"{number % 2}"
            folder.mkdir(exist_ok=True)
            data = encoded(photo(64, 48))[:-2] + bytes([number % 2]) + b"\xff\xd9"
            (folder / "1.jpg").write_bytes(data)
            os.utime(folder / "1.jpg", (1e9, 1e9))
            kind = Mirror({"images": str(folder)})
            await kind.open(objects)
            result = await kind.execute("1.jpg", Attempt("run", 0, 1))
            await kind.close()
            assert result["copied"]
            await objects.get(result["key"], tmp_path / "got")
            assert (tmp_path / "got").read_bytes() == data

    asyncio.run(main())
