"""What transitions, fades and zoom show, and that each decoder sees the same."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any, Final, get_args

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageDraw

from kon.backends.memory.backend import MemoryObjects
from kon.core.errors import ConfigurationError
from kon.kinds.pictures.header import read_header
from kon.kinds.video.decode import Decoder
from kon.kinds.video.film import Place, Transition
from kon.kinds.video.jobfile import VideoJob
from kon.kinds.video.moves import BLACK, TRANSITIONS, FrameSpans, Picture, Shot, frame_at
from kon.kinds.video.planes import Planes
from kon.kinds.video.skip import apart
from kon.kinds.video.times import Times, way_of
from tests.kinds.video import openh264
from tests.kinds.video.filming import filmed, pictures, switches
from tests.kinds.video.given import SMALL, Video, encoded, run, site, watch
from tests.kinds.video.studio import studio

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
    assert apart(FrameSpans(*made)) == FrameSpans(*wanted)


def test_a_picture_of_one_frame_has_every_frame_encoded(tmp_path: Path) -> None:
    job = VideoJob(("a", "b", "c"), seconds=(1.0, 0.1, 1.0))
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
            job = VideoJob((place.url("0"),) * 2, focus=((0.5, 0.1), (0.5, 0.9)))
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
