"""Looks: every option counts in a job, its file and the key."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from kon.core.errors import ConfigurationError
from kon.kinds.animoto import Animoto, AnimotoOptions
from kon.kinds.video.film import LOOKS, Film
from kon.kinds.video.jobfile import VideoJob, film_for, parse_job, read_job
from kon.kinds.video.notes import key_of, made_of
from tests.kinds.video.given import SMALL

SAMPLES: Final[dict[str, tuple[str, Any]]] = {
    "size": ("640x360", "640x360"),
    "seconds": ("2", 2.0),
    "fps": ("30000/1001", "30000/1001"),
    "format": ("webm", "webm"),
    "repeat": ("encode", "encode"),
    "preset": ("medium", "medium"),
    "crf": ("20.5", 20.5),
    "transition": ("slide_left", "slide_left"),
    "transition_s": ("0.2", 0.2),
    "crossfade_s": ("0.2", 0.2),
    "fade_in_s": ("0.2", 0.2),
    "fade_out_s": ("0.2", 0.2),
    "zoom": ("1.2", 1.2),
    "focus": ("0.25, 0.75", (0.25, 0.75)),
    "background": ("#102030", "#102030"),
    "fit": ("crop", "crop"),
    "title": ("Our summer: 12 days", "Our summer: 12 days"),
    "title_s": ("2.5", 2.5),
    "title_background": ("image 2", "image 2"),
    "end": ("Fin", "Fin"),
    "end_s": ("1.5", 1.5),
    "end_background": ("navy", "navy"),
    "poster": ("png", "png"),
    "audio_loop": ("true", True),
    "audio_fade_s": ("1.5", 1.5),
    "caption_font": ("DejaVu Serif", "DejaVu Serif"),
    "caption_size": ("0.1", 0.1),
    "caption_position": ("top", "top"),
}
"""Of each option: a value that is not the default, as a line of a job file has it, and what it stands for."""
NEEDED: Final = {"transition_s": "transition: crossfade\n"}
"""Lines that an option needs next to it."""
OF_THE_WORKER: Final = {
    "url_expires_s": "the store's",
    "min_images": "whether a job has failed, not what its video is like",
    "images": "a folder of the worker's",
    "allow": "who sends a job in does not say what it may reach",
    "connections": "the worker's",
    "image_timeout_s": "the worker's",
    "image_bytes": "the worker's memory",
    "audio_bytes": "the worker's memory",
    "max_megapixels": "the worker's memory",
    "threads": "the worker's",
    "refresh": "whether videos are made, not what they are like",
    "slots": "the worker's",
}
"""Options that no job has for itself, each with the reason. All others are a look's."""


def job_file(folder: Path, text: str) -> Path:
    path = folder / "job.txt"
    path.write_text("http://a/1.jpg\nhttp://a/2.jpg\n" + text)
    return path


def test_an_option_is_a_looks_or_the_workers() -> None:
    declared = {field.encode_name for field in msgspec.structs.fields(AnimotoOptions)}
    assert declared - set(LOOKS) == set(OF_THE_WORKER), "an option is in Film, or here with its reason"
    assert set(LOOKS) == set(SAMPLES), "each option of a look has a sample here"


@pytest.mark.parametrize("name", SAMPLES)
def test_each_option_stands_in_a_job_and_in_its_file_and_in_the_key(tmp_path: Path, name: str) -> None:
    text, value = SAMPLES[name]
    job = parse_job(read_job(job_file(tmp_path, f"{NEEDED.get(name, '')}{name}: {text}\n")))
    without = parse_job(read_job(job_file(tmp_path, NEEDED.get(name, ""))))
    film, plain_film = film_for(job, Film()), film_for(without, Film())
    assert getattr(plain_film, name) != value == getattr(film, name)
    as_list = list(value) if isinstance(value, tuple) else value
    needed = {"transition": "crossfade"} if name in NEEDED else {}
    assert film_for(parse_job({"links": ["a", "b"], **needed, name: as_list}), Film()) == film
    same = VideoJob(links=job.links)
    assert key_of(film, same, "mp4") != key_of(plain_film, same, "mp4")


@pytest.mark.parametrize("name", [field.encode_name for field in msgspec.structs.fields(VideoJob)])
def test_each_key_of_a_job_is_in_the_keys(name: str) -> None:
    values: dict[str, Any] = {
        "links": ("x", "y"),
        "captions": ("a", "b"),
        "audio": "http://a/s.mp3",
        "seconds": (1.0, 2.0),
        "beats": (1.0, 2.0),
        "focus": ((0.0, 0.0), (0.5, 0.5)),
        "look": {"fit": "crop"},
    }
    job = VideoJob(("a", "b"))
    other = msgspec.structs.replace(job, **{name: values[name]})
    assert key_of(SMALL, (other, ""), "json") != key_of(SMALL, (job, ""), "json")
    # links and audio are in the video's own key as digests of what they led to, the look as the film
    made = key_of(SMALL, made_of(other), "mp4") != key_of(SMALL, made_of(job), "mp4")
    assert made == (name not in ("links", "audio", "look"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "fitt: crop\n",
            r'line 3: unknown option of a job "fitt", did you mean "fit".* is written \./fitt:crop',
        ),
        ("\n# x\nfit: crp\n", r'line 5: option "fit" of the job: expected "letterbox", "crop" or "blur"'),
        ("crf: 99\n", 'line 3: option "crf" of the job: expected a number from 1 to 51, found 99'),
        ("fps: 0\n", "line 3: .*expected a number from 1 to 120"),
        ("focus: 0.5\n", "line 3: focus: expected two shares such as 0.5 0.3"),
        ("focus: 0.5 2\n", 'line 3: option "focus" of the job: expected'),
        ("focus: 0 0 1 1 1 1\n", "line 3: expected as many focus as links, got 3 and 2"),
        ("title: a\ntitle: b\n", "line 4: title again; line 3 has it"),
        ("title:\n", 'line 3: title: expected a value, found nothing; the empty text is written ""'),
        ("allow: file\n", 'line 3: unknown option of a job "allow"'),
        ("links: a\n", "line 3: links: expected no such line"),
        ("beats: soon\n", "line 3: beats: expected times in seconds"),
        ("seconds: 1 2 3\n", "line 3: expected as many seconds as links, got 3 and 2"),
        ("transition_s: 1\n", 'line 3: option "transition_s" of the job: a cut takes no time'),
        ("title: a\ntitle_background: image 3\n", "line 4: title_background: the job has no image 3"),
        ("title_background: blackish\n", "line 3: .*expected a colour such as .* or an image of the album"),
        ("format: gif\naudio: http://a/s.mp3\n", "line 4: a GIF has no sound: leave audio out .* or say"),
        ("caption_font: /etc/passwd\n", "line 3: caption_font: a job may name a family of fonts, not a file"),
    ],
)
def test_a_wrong_line_of_a_job_file_is_named(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        read_job(job_file(tmp_path, text))


def test_a_jobs_options_are_checked_with_the_workloads(tmp_path: Path) -> None:
    kind = Animoto({"crossfade_s": 0.4})
    with pytest.raises(ConfigurationError, match=r'line 3: option "crossfade_s" .* write these two'):
        kind.body_of_path(str(job_file(tmp_path, "crossfade_s: 0.4\ntransition: slide_up\n")))
    body = kind.body_of_path(str(job_file(tmp_path, 'crossfade_s: 0\ntransition: slide_up\ntitle: ""\n')))
    assert body["title"] == ""
    kind.check(body)
    body = kind.body_of_path(str(job_file(tmp_path, "seconds: 1.5 0.5\nfocus: 0 0.5 1 0.5\n")))
    assert (body["seconds"], body["focus"]) == ([1.5, 0.5], [[0, 0.5], [1, 0.5]])
    with pytest.raises(ConfigurationError, match=r"image 2 would be on screen for 0.2 s; the least is 0.4 s"):
        kind.check({"links": ["a", "b"], "seconds": [1.0, 0.2], "end": "x"})
