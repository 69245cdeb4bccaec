"""The files: their frames, times, colours and looks, and who can play them."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path
from typing import Any

import av
import msgspec
import numpy as np
import pytest
from PIL import Image

from kon.core.errors import ConfigurationError
from kon.core.options import read_options
from kon.kinds.video.encode import FrameEncoder
from kon.kinds.video.film import Film
from kon.kinds.video.planes import frame_of, planes_of
from tests.kinds.video.filming import FULL, filmed, pictures, switches, times, tone
from tests.kinds.video.given import SMALL, luma_of, ssim, watch


@pytest.mark.parametrize(
    "film",
    [
        SMALL,
        msgspec.structs.replace(SMALL, format="mkv"),
        msgspec.structs.replace(SMALL, repeat="encode"),
        msgspec.structs.replace(SMALL, repeat="encode", format="mkv"),
        msgspec.structs.replace(SMALL, fps=25, seconds=1.0),
        msgspec.structs.replace(SMALL, fps=30, seconds=2.5),
        msgspec.structs.replace(SMALL, fps=10, seconds=0.1),
        msgspec.structs.replace(SMALL, size="854x480"),
        msgspec.structs.replace(SMALL, preset="ultrafast"),
        msgspec.structs.replace(SMALL, preset="medium", crf=30),
        FULL,
    ],
    ids=lambda film: f"{film.way}-{film.format}-{film.width}-{film.fps}x{film.seconds}-{film.preset}",
)
def test_every_image_is_on_screen_for_exactly_its_time(tmp_path: Path, film: Film) -> None:
    frames = pictures(film, 3)
    video = watch(filmed(tmp_path, film, frames))
    count = 3 * film.frames(film.seconds)
    assert len(video.luma) == count
    assert video.times == pytest.approx([float(number / film.rate) for number in range(count)], abs=6e-4)
    assert video.duration_s == pytest.approx(3 * film.seconds, abs=1e-6)
    assert video.stream["codec"] == "h264"
    assert video.stream["rate"] == film.fps
    for number, luma in enumerate(video.luma):
        apart = [np.abs(luma[::3, ::3].astype(int) - luma_of(each)[::3, ::3]).mean() for each in frames]
        assert apart.index(min(apart)) == number // film.frames(film.seconds)
        assert min(apart) < 4
    colours = ("colorspace", "color_range", "color_primaries", "color_trc")
    assert [video.stream[name] for name in colours] == [1, 1, 1, 1]  # BT.709, limited


def test_the_default_is_as_good_as_it_should_be(tmp_path: Path) -> None:
    frames = pictures(FULL, 4)
    video = watch(filmed(tmp_path, FULL, frames))
    scores = [ssim(video.luma[25 * number + 12], luma_of(each)) for number, each in enumerate(frames)]
    assert sum(scores) / 4 >= 0.975
    assert min(scores) >= 0.95


@pytest.mark.parametrize("repeat", ["skip", "encode"])
@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_each_image_may_have_a_time_of_its_own(tmp_path: Path, repeat: Any, container: Any) -> None:
    film = msgspec.structs.replace(SMALL, repeat=repeat, format=container)
    path = filmed(tmp_path, film, pictures(film, 4), seconds=(0.5, 1.2, 0.2, 0.6))
    assert switches(path) == pytest.approx([0.5, 1.7, 1.9])
    assert len(watch(path).luma) == 25


@pytest.mark.parametrize("repeat", ["skip", "encode"])
@pytest.mark.parametrize(
    ("taken", "wanted"),
    [([0, 1, 2, 3], [0.4, 1.0, 1.8]), ([0, 2, 3], [1.0, 1.8]), ([1, 3], [1.8]), ([0, 1], [0.4])],
    ids=["all", "the second left out", "the first and third left out", "the last two left out"],
)
def test_images_give_way_on_the_beat_whatever_is_left_out(
    tmp_path: Path, repeat: Any, taken: list[int], wanted: list[float]
) -> None:
    film = msgspec.structs.replace(SMALL, repeat=repeat)
    path = filmed(tmp_path, film, pictures(film, 4), taken=taken, beats=(0.4, 1.0, 1.8, 3.0))
    assert switches(path) == pytest.approx(wanted)
    assert len(watch(path).luma) == 30


def test_what_is_cut_off_times_never_adds_up() -> None:
    given = times(SMALL, 300, seconds=(1 / 3,) * 300)
    assert sum(given.frames(number, number + 1, first=number == 0) for number in range(300)) == 1_000


def test_an_image_with_no_frame_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"image 2 would be on screen for 0 s; the least is 0.1 s"):
        times(SMALL, 2, seconds=(1.0, 0.01))
    fading = msgspec.structs.replace(SMALL, crossfade_s=0.3)
    with pytest.raises(ConfigurationError, match=r"image 1 would be on screen for 0.2 s; the least is 0.3"):
        times(fading, 2, beats=(0.2, 2.0))


def test_the_index_of_an_mp4_stands_first(tmp_path: Path) -> None:
    data = filmed(tmp_path, SMALL, pictures(SMALL, 2)).read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


def test_a_crossfade_is_on_its_way_from_one_image_to_the_next(tmp_path: Path) -> None:
    film = msgspec.structs.replace(SMALL, seconds=1.0, crossfade_s=0.4)
    [planes] = map(planes_of, pictures(film, 1))
    dark, bright = (frame_of(planes._replace(y=Image.new("L", planes.y.size, level))) for level in (40, 200))
    video = watch(filmed(tmp_path, film, [dark, bright]))
    means = [float(luma.mean()) for luma in video.luma]
    assert len(means) == 20
    assert means[:6] == pytest.approx([40] * 6, abs=3)
    assert means[6:10] == pytest.approx([72, 104, 136, 168], abs=4)
    assert means[10:] == pytest.approx([200] * 10, abs=3)


def test_an_image_grows(tmp_path: Path) -> None:
    film = msgspec.structs.replace(SMALL, seconds=1.0, zoom=1.5, background="black")
    frames = pictures(film, 1)
    bars = [int((luma.mean(0) < 24).sum()) for luma in watch(filmed(tmp_path, film, frames)).luma]
    assert bars[0] > bars[5] > bars[9]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"repeat": "skip", "zoom": 1.1}, "zoom has them grow"),
        ({"repeat": "skip", "fps": 10, "seconds": 0.1}, "one frame for each image"),
        ({"fps": 24, "seconds": 0.3}, "no whole number of frames"),
        ({"size": "641x360"}, "even number"),
        ({"size": "640x8000"}, "even number from 16 to 4096"),
        ({"crf": 0}, '"crf" of a look: expected a number from 1 to 51, found 0'),
        ({"preset": "superfats"}, 'expected "ultrafast", "superfast", .* did you mean "superfast"'),
        ({"crossfade_s": 2.0}, '"crossfade_s" of a look: expected a number from 0 to 1'),
        ({"zoom": float("nan")}, '"zoom" of a look: expected'),
    ],
)
def test_looks_that_can_not_be(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        read_options("a look", options, Film)


def test_what_moves_is_encoded_frame_by_frame_unless_one_asks_for_the_other() -> None:
    assert Film().way == "skip"
    assert Film(zoom=1.1).way == "encode"
    assert Film(repeat="encode").way == "encode"


def test_an_encoder_that_is_stopped_ends_soon(tmp_path: Path) -> None:
    film = msgspec.structs.replace(SMALL, repeat="encode", seconds=60.0)
    encoder = FrameEncoder(tmp_path / "1.mp4", film, times(film, 2))
    frames = pictures(film, 2)
    encoder.stop()
    for number, each in enumerate(frames):
        encoder.add(encoder.prepare(each), number)
    assert encoder.frames_made == 0
    encoder.close()


needs_ffmpeg = pytest.mark.skipif(
    shutil.which("ffmpeg") is None,
    reason="there is no ffmpeg on this machine; `make browser-tools` installs it, as root",
)


@needs_ffmpeg
@pytest.mark.parametrize(
    "film",
    [SMALL, FULL, msgspec.structs.replace(SMALL, format="mkv"), msgspec.structs.replace(SMALL, zoom=1.1)],
    ids=["small", "full", "mkv", "zoom"],
)
def test_ffmpeg_plays_it_without_a_warning(tmp_path: Path, film: Film) -> None:
    path = filmed(tmp_path, film, pictures(film, 2), tone(1.0))
    ended = subprocess.run(
        ["ffmpeg", "-v", "warning", "-xerror", "-i", str(path), "-f", "null", "-"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_a_video_can_be_read_from_its_beginning_on(tmp_path: Path) -> None:
    """As a browser does: what has come so far is enough for the pictures so far."""
    data = filmed(tmp_path, FULL, pictures(FULL, 4)).read_bytes()
    with av.open(io.BytesIO(data[: len(data) * 2 // 3]), "r", format="mp4") as container:
        assert next(iter(container.decode(video=0))).width == 1920
