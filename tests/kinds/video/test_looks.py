"""Looks: every option counts in a job, its file and the key; what transitions, fades and cards show."""

from __future__ import annotations

import io
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, get_args

import av
import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageDraw

from kon.backends.memory.objects import MemoryObjects
from kon.core.errors import ConfigurationError
from kon.core.options import read_options
from kon.kinds.animoto import Animoto, AnimotoOptions
from kon.kinds.pictures.header import read_header
from kon.kinds.video import videofile
from kon.kinds.video.decode import Decoder
from kon.kinds.video.film import LOOKS, Film, Place, Transition, rate_of
from kon.kinds.video.jobfile import Job, film_for, parse_job, read_job
from kon.kinds.video.moves import BLACK, TRANSITIONS, Picture, Shot, Spans, frame_at
from kon.kinds.video.notes import key_of, made_of
from kon.kinds.video.planes import Planes
from kon.kinds.video.skip import apart
from kon.kinds.video.times import TITLE, Times, way_of
from tests.kinds.video import openh264
from tests.kinds.video.given import SMALL, Video, encoded, photo, plain, run, site, watch
from tests.kinds.video.test_encode import filmed, pictures, switches, tone
from tests.kinds.video.test_job import Changing, studio

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
    same = Job(links=job.links)
    assert key_of(film, same, "mp4") != key_of(plain_film, same, "mp4")


@pytest.mark.parametrize("name", [field.encode_name for field in msgspec.structs.fields(Job)])
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
    job = Job(("a", "b"))
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


# --- transitions and fades --------------------------------------------------------------------------------


def test_every_transition_is_in_the_table() -> None:
    assert {*TRANSITIONS, "cut"} == set(get_args(Transition))


def array(planes: Planes) -> npt.NDArray[np.float64]:
    return np.asarray(planes.y, np.float64)


def shading(down: bool, size: tuple[int, int] = (320, 180)) -> Planes:
    """A picture that no two places of are alike."""
    grey = Image.linear_gradient("L").point(lambda level: 30 + level * 3 // 4)
    luma = (grey if down else grey.rotate(90)).resize(size)
    return Planes(luma, *(Image.new("L", (size[0] // 2, size[1] // 2), 90 if down else 160) for _ in "ab"))


@pytest.mark.parametrize("name", TRANSITIONS)
def test_a_transition_goes_from_one_picture_to_the_other_without_a_jump(name: Any) -> None:
    film = msgspec.structs.replace(SMALL, seconds=2.0, transition=name, transition_s=1.9)
    one, other = shading(down=False), shading(down=True)
    shot = Shot(Picture(one), Picture(other), 20, first=True)
    frames = [array(frame_at(shot, number, film)) for number in range(20)]
    assert np.array_equal(frames[0], array(one))
    path = [*frames, array(other)]
    steps = [float(np.abs(after - before).mean()) for before, after in pairwise(path)]
    assert min(steps) > 0.2, "a frame that is like the one before it"
    assert max(steps) < 4 * sum(steps) / len(steps), f"a jump: {steps}"
    for frame in (frame_at(shot, number, film) for number in range(20)):
        assert [plane.size for plane in frame] == [(320, 180), (160, 90), (160, 90)]


@pytest.mark.parametrize("name", ["slide_left", "slide_right", "slide_up", "slide_down"])
def test_a_slide_goes_where_it_says(name: Any) -> None:
    film = msgspec.structs.replace(SMALL, transition=name, transition_s=0.3, seconds=0.4)
    bright = Planes(*(Image.new("L", size, 200) for size in ((320, 180), (160, 90), (160, 90))))
    shot = Shot(Picture(shading(down=True)), Picture(bright), 4, first=True)
    frame = array(frame_at(shot, 1, film))
    shown = frame == 200
    assert 0.2 < shown.mean() < 0.3
    sides = {"left": shown[:, -60:], "right": shown[:, :60], "up": shown[-30:], "down": shown[:30]}
    assert sides[name.removeprefix("slide_")].all()


def test_a_picture_comes_out_of_black_and_goes_into_it(tmp_path: Path) -> None:
    film = msgspec.structs.replace(SMALL, seconds=1.0, fade_in_s=0.5, fade_out_s=0.4)
    video = watch(filmed(tmp_path, film, pictures(film, 3)))
    means = [float(luma.mean()) for luma in video.luma]
    assert len(means) == 30
    assert means[0] == pytest.approx(16, abs=1)
    assert means[-1] == pytest.approx(16, abs=1)
    assert all(before < after for before, after in pairwise(means[:6]))
    assert all(before > after for before, after in pairwise(means[-5:]))
    assert means[5:10] == pytest.approx([means[7]] * 5, abs=1)
    assert np.abs(np.asarray(video.chroma[0]).astype(int) - BLACK[1]).max() <= 2


ALL: Final = {
    "transition": "slide_left",
    "transition_s": 0.3,
    "fade_in_s": 0.2,
    "fade_out_s": 0.3,
    "seconds": 1.0,
}
MOVING: Final = [
    {},
    {"crossfade_s": 0.3},
    {"crossfade_s": 1.0, "seconds": 1.0},
    {"transition": "dip_white", "transition_s": 0.1},
    {"fade_in_s": 0.1, "fade_out_s": 0.1},
    {"fade_in_s": 0.5},
    ALL,
    {**ALL, "fps": 29.97},
    {**ALL, "preset": "medium"},
    {**ALL, "size": "854x480"},
    {**ALL, "repeat": "encode", "zoom": 1.2},
]


@pytest.mark.parametrize("options", MOVING, ids=str)
def test_an_independent_decoder_sees_the_same_frames(tmp_path: Path, options: dict[str, Any]) -> None:
    if openh264.LIBRARY is None:
        pytest.skip("there is no libopenh264 on this machine; `make browser-tools` installs it, as root")
    film = msgspec.structs.replace(SMALL, **options)
    path = filmed(tmp_path, film, pictures(film, 3))
    ours, theirs = watch(path), list(openh264.decoded(path))
    assert len(theirs) == len(ours.luma) == film.frames(3 * film.seconds)
    shown = [b"".join(map(np.ndarray.tobytes, planes)) for planes in theirs]
    wanted = [y.tobytes() + cb.tobytes() + cr.tobytes() for y, (cb, cr) in zip(ours.luma, ours.chroma)]
    if film.way == "encode":  # B pictures: openh264 puts out a pair of them in the wrong order
        shown, wanted = sorted(shown), sorted(wanted)
    assert [number for number in range(len(wanted)) if shown[number] != wanted[number]] == []


@pytest.mark.parametrize("options", MOVING[1:7], ids=str)
def test_what_moves_in_part_is_what_would_be_shown_frame_by_frame(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    shown: list[Video] = []
    for repeat in ("skip", "encode"):
        film = msgspec.structs.replace(SMALL, repeat=repeat, **options)
        shown.append(watch(filmed(tmp_path, film, pictures(film, 3))))
    skipped, made = shown
    assert len(skipped.luma) == len(made.luma)
    apart_by = [np.abs(a.astype(int) - b).mean() for a, b in zip(skipped.luma, made.luma, strict=True)]
    assert max(apart_by) < 3


@pytest.mark.parametrize(
    ("made", "wanted"),
    [
        ((0, 25, 0), (0, 25, 0)),
        ((0, 20, 5), (0, 20, 5)),
        ((1, 20, 4), (2, 19, 4)),
        ((0, 20, 1), (0, 19, 2)),
        ((0, 1, 4), (0, 0, 5)),
        ((1, 2, 1), (0, 0, 4)),
        ((3, 0, 3), (0, 0, 6)),
        ((0, 2, 1), (0, 0, 3)),
    ],
)
def test_no_stretch_is_one_frame_long(made: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    """H.264 (7.4.3, idr_pic_id) wants two pictures in a row that are coded alone numbered apart."""
    assert apart(Spans(*made)) == Spans(*wanted)


def test_a_picture_of_one_frame_has_every_frame_encoded(tmp_path: Path) -> None:
    job = Job(("a", "b", "c"), seconds=(1.0, 0.1, 1.0))
    assert way_of(SMALL, Times(SMALL, job)) == "encode"
    path = filmed(tmp_path, SMALL, pictures(SMALL, 3), seconds=job.seconds)
    assert len(watch(path).luma) == 21
    assert switches(path) == pytest.approx([1.0, 1.1])
    with pytest.raises(ConfigurationError, match="with repeat: skip each needs two"):
        Times(msgspec.structs.replace(SMALL, repeat="skip"), job)


# --- focus ------------------------------------------------------------------------------------------------


def spotted(width: int, height: int, x: float, y: float) -> bytes:
    image = Image.new("RGB", (width, height), "#404040")
    middle, size = (x * width, y * height), width / 16
    ImageDraw.Draw(image).ellipse(
        (middle[0] - size, middle[1] - size, middle[0] + size, middle[1] + size), "white"
    )
    return encoded(image, "PNG")


def spot(luma: npt.NDArray[np.uint8]) -> Place:
    rows, columns = np.nonzero(luma > 160)
    return float(columns.mean() / luma.shape[1]), float(rows.mean() / luma.shape[0])


@pytest.mark.parametrize("fit", ["letterbox", "crop", "blur"])
def test_the_focus_stays_in_its_place_as_the_image_grows(fit: Any) -> None:
    film = msgspec.structs.replace(SMALL, fit=fit, zoom=1.8)
    data = spotted(400, 400, 0.3, 0.6)
    framed = Decoder(film).framed(data, read_header(data), (0.3, 0.6))
    assert framed.frame.width == 320
    planes = Planes(
        *(
            Image.frombytes("L", (plane.width, plane.height), bytes(plane), "raw", "L", plane.line_size)
            for plane in framed.frame.planes
        )
    )
    shot = Shot(Picture(planes, None, framed.focus), None, 10, first=True)
    places = [spot(np.asarray(frame_at(shot, number, film).y)) for number in (0, 5, 9)]
    for place in places:
        assert place == pytest.approx(framed.focus, abs=0.02)
    if fit != "letterbox":
        return
    assert places[0] == pytest.approx((0.5 + (0.3 - 0.5) * 180 / 320, 0.6), abs=0.02)


@pytest.mark.parametrize(("focus", "at"), [((0.5, 0.1), 0.18), ((0.5, 0.9), 0.82), ((0.5, 0.5), 0.5)])
def test_a_crop_keeps_the_focus_in_the_frame(focus: Place, at: float) -> None:
    film = msgspec.structs.replace(SMALL, fit="crop")
    data = spotted(400, 400, *focus)
    frame, place = Decoder(film).framed(data, read_header(data), focus)
    found = spot(np.frombuffer(bytes(frame.planes[0]), np.uint8).reshape(180, -1)[:, :320])
    assert found == pytest.approx(place, abs=0.03)
    assert found[1] == pytest.approx(at, abs=0.03)


def test_each_image_may_have_a_focus_of_its_own() -> None:
    async def main() -> list[float]:
        objects = MemoryObjects()
        film = msgspec.structs.replace(SMALL, fit="crop", repeat="encode")
        async with site() as place, studio(objects, film) as works:
            place.pages["0"] = spotted(400, 400, 0.5, 0.1)
            job = Job((place.url("0"),) * 2, focus=((0.5, 0.1), (0.5, 0.9)))
            video = await stored(objects, (await works.make(job))["key"])
        return [float((luma > 160).mean()) for luma in (video.luma[2], video.luma[7])]

    first, second = run(main())
    assert first > 0.01
    assert second == 0


async def stored(objects: MemoryObjects, key: str) -> Video:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / key.rpartition("/")[2]
        await objects.get(key, path)
        return watch(path)


# --- rates ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "rate"),
    [
        (25, Fraction(25)),
        (12.5, Fraction(25, 2)),
        (23.976, Fraction(24000, 1001)),
        ("29.97", Fraction(30000, 1001)),
        (59.94, Fraction(60000, 1001)),
        ("30000/1001", Fraction(30000, 1001)),
        ("2997/100", Fraction(2997, 100)),
    ],
)
def test_rates_are_exact(said: Any, rate: Fraction) -> None:
    assert rate_of(said) == rate


@pytest.mark.parametrize(
    ("said", "says"),
    [
        (23.98, r'may stand for 24000/1001, which is written 23.976, or for exactly "1199/50"'),
        ("1/0", "expected a number such as 25"),
        ("fast", "expected a number such as 25"),
        (0, "from 1 to 120"),
        (121, "from 1 to 120"),
        ("100000/10007", "at most 10000"),
    ],
)
def test_rates_that_can_not_be(said: Any, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        read_options("a look", {"fps": said}, Film)


@pytest.mark.parametrize("form", ["mp4", "mkv", "webm"])
@pytest.mark.parametrize("fps", [23.976, 29.97, "30000/1001", 12.5])
def test_the_container_has_the_exact_rate(tmp_path: Path, form: Any, fps: Any) -> None:
    film = msgspec.structs.replace(SMALL, fps=fps, format=form, seconds=1.0)
    path = filmed(tmp_path, film, pictures(film, 7), beats=tuple(1.7 * number for number in range(1, 8)))
    with av.open(str(path), "r") as container:
        stream = container.streams.video[0]
        assert stream.average_rate == film.rate
        times = [frame.time for frame in container.decode(stream)]
    assert len(times) == round(7 * 1.7 * film.rate)
    exact = 1e-9 if form == "mp4" else 6e-4  # Matroska counts in milliseconds
    assert times == pytest.approx([float(number / film.rate) for number in range(len(times))], abs=exact)
    luma = watch(path).luma
    changed = [n for n in range(1, len(luma)) if np.abs(luma[n].astype(int) - luma[n - 1]).mean() > 3]
    assert changed == [round(1.7 * number * film.rate) for number in range(1, 7)]


def test_seconds_at_a_fractional_rate_never_drift() -> None:
    film = msgspec.structs.replace(SMALL, fps="24000/1001", seconds=1.0)
    times = Times(film, Job(("a",) * 600))
    frames = [times.frames(number, number + 1, number == 0) for number in range(600)]
    assert sum(frames) == round(600 * film.rate)
    assert set(frames) == {23, 24}


# --- formats ----------------------------------------------------------------------------------------------


def test_webm_has_vp9_and_opus(tmp_path: Path) -> None:
    film = msgspec.structs.replace(SMALL, format="webm", **ALL)
    frames = pictures(film, 3)
    path = filmed(tmp_path, film, frames, tone(9.0))
    video = watch(path)
    assert (video.stream["codec"], len(video.luma)) == ("vp9", 30)
    assert [video.stream[name] for name in ("colorspace", "color_range")] == [1, 1]
    assert video.duration_s == pytest.approx(3.0, abs=0.03)
    apart_by = np.abs(
        video.luma[13].astype(int)
        - np.frombuffer(bytes(frames[1].planes[0]), np.uint8).reshape(180, -1)[:, :320]
    )
    assert apart_by.mean() < 4
    with av.open(str(path), "r") as container:
        assert container.format.name == "matroska,webm"
        assert container.streams.audio[0].codec_context.name == "opus"
        samples = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    assert len(samples) == pytest.approx(3 * 48_000, abs=2_000)
    assert np.abs(samples).max() > 0.05


@pytest.mark.parametrize("options", [{}, ALL, {"zoom": 1.3}, {"fps": 30, "seconds": 0.7}], ids=str)
def test_a_gif_holds_each_picture_for_its_time(tmp_path: Path, options: dict[str, Any]) -> None:
    film = msgspec.structs.replace(SMALL, format="gif", **options)
    frames = pictures(film, 3)
    path = filmed(tmp_path, film, frames)
    with Image.open(path) as image:
        assert (image.format, image.size, image.info["loop"]) == ("GIF", (320, 180), 0)
        shown, begin, starts = [], 0, []
        for number in range(image.n_frames):  # type: ignore[attr-defined]
            image.seek(number)
            starts.append(begin)
            begin += image.info["duration"]
            shown.append(np.asarray(image.convert("RGB"), np.float64))
    assert begin == round(3_000 * film.seconds)
    if not options:
        assert len(shown) == 3
    middle = max(place for place, start in enumerate(starts) if start <= 1_450 * film.seconds)
    wanted = np.asarray(rgb(frames[1]), np.float64)
    if "zoom" not in options:
        assert np.abs(shown[middle] - wanted).mean() < 8


def rgb(frame: av.VideoFrame) -> Image.Image:
    image: Image.Image = frame.to_image()  # type: ignore[no-untyped-call]
    return image


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"format": "gif", "repeat": "encode"},
            "gif holds each picture for its time; leave repeat out, or say",
        ),
        ({"format": "gif", "fps": 60}, "at most 50 frames a second"),
        (
            {"format": "webm", "repeat": "skip"},
            "webm has every frame encoded; leave repeat out, or say format",
        ),
        ({"crossfade_s": 0.2, "transition": "dip_black"}, "stands for transition: crossfade"),
        ({"transition": "cut", "transition_s": 0.2}, "a cut takes no time"),
    ],
)
def test_formats_and_transitions_that_do_not_go_together(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        read_options("a look", options, Film)


def test_an_encoder_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    there = videofile.FORMATS["webm"]
    monkeypatch.setitem(videofile.FORMATS, "webm", there._replace(video="libvpx-vp99"))
    with pytest.raises(ConfigurationError, match='carries no encoder "libvpx-vp99", which webm needs'):
        videofile.check_encoders("webm")


# --- cards and posters ------------------------------------------------------------------------------------


def carded(film: Film, **given: Any) -> tuple[dict[str, Any], Video, bytes]:
    """The result of a job of three images, of which the second is bad; its video, and its poster."""

    async def main() -> Any:
        objects = MemoryObjects()
        async with site() as place, studio(objects, film) as works:
            place.pages |= {"0": encoded(photo()), "1": b"no picture", "2": encoded(plain("red", 320, 180))}
            result = await works.make(Job(tuple(place.url(name) for name in "012"), **given))
            poster = objects._objects[result["poster_key"]] if "poster_key" in result else b""
            return result, await stored(objects, result["key"]), poster

    return run(main())  # type: ignore[no-any-return]


@pytest.mark.parametrize("repeat", ["skip", "encode"])
def test_cards_stand_before_and_after_the_images(repeat: Any) -> None:
    film = msgspec.structs.replace(
        SMALL, repeat=repeat, title="Summer", title_s=0.7, end="Fin", end_s=0.4, end_background="#ffffff"
    )
    result, video, _ = carded(film)
    assert (result["images"], result["duration_s"], len(video.luma)) == (2, 2.1, 21)
    for number in range(7):  # white letters on black, in the middle and not at the edge
        assert (video.luma[number] > 200).any()
        assert (video.luma[number][:40] < 20).all()
    assert np.abs(video.luma[7].astype(int) - video.luma[6]).mean() > 10
    assert (video.luma[17][:40] > 225).all()
    assert (video.luma[20] < 60).any()  # the letters' edge


def test_a_card_may_stand_on_an_image_and_says_where_that_is_not_there() -> None:
    film = msgspec.structs.replace(
        SMALL, title="Summer", title_background="image 3", end="Fin", end_background="image 2"
    )
    result, video, _ = carded(film)
    red, last = video.chroma[0][1], video.luma[-1]
    assert red.mean() > 180
    assert (last[:40] < 20).all()
    assert set(result["card_warnings"]) == {"end"}
    assert result["card_warnings"]["end"].startswith("image 2 is not behind it: ")


def test_beats_count_from_the_beginning_of_the_video(tmp_path: Path) -> None:
    film = msgspec.structs.replace(SMALL, title="a", title_s=1.0, end="b", end_s=0.5)
    times = Times(film, Job(("a", "b"), beats=(2.0, 4.0)))
    assert times.numbers == [TITLE, 0, 1, 2]
    assert [
        times.frames(number, after, number == TITLE) for number, after in ((-1, 0), (0, 1), (1, 2), (2, None))
    ] == [10, 10, 20, 5]
    assert times.frames(TITLE, 1, first=True) == 20, "the first image is left out"
    with pytest.raises(ConfigurationError, match="image 1 would be on screen"):
        Times(film, Job(("a", "b"), beats=(0.5, 4.0)))


@pytest.mark.parametrize("form", ["jpeg", "png"])
@pytest.mark.parametrize("repeat", ["skip", "encode"])
def test_a_poster_is_the_first_picture(form: Any, repeat: Any) -> None:
    film = msgspec.structs.replace(SMALL, poster=form, fade_in_s=0.2, repeat=repeat)
    result, video, poster = carded(film, captions=("One", "", ""))
    assert result["poster_key"] == result["key"].replace(".mp4", ".jpg" if form == "jpeg" else ".png")
    assert result["poster_url"]
    with Image.open(io.BytesIO(poster)) as image:
        assert (image.format, image.size) == (form.upper(), (320, 180))
        shown = np.asarray(image.convert("L"), np.float64)
    luma = (video.luma[3].astype(float) - 16) * 255 / 219
    assert np.abs(shown - luma).mean() < 6


def test_a_poster_is_linked_again_with_its_video_and_made_again_where_it_is_gone() -> None:
    film = msgspec.structs.replace(SMALL, poster="png")

    async def main() -> None:
        objects = MemoryObjects()
        async with site() as place, studio(objects, film) as works:
            place.pages["0"] = Changing(encoded(photo()))
            job = Job((place.url("0"),))
            first = await works.make(job)
            second = await works.make(job)
            assert second == {**first, "uploaded": False}
            del objects._objects[first["poster_key"]]
            await works.make(job)
            assert await objects.size_bytes(first["poster_key"])

    run(main())
