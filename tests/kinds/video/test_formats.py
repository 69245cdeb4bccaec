"""Formats and their rates: WebM, GIF, and fractions of frames a second."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import msgspec
import numpy as np
import pytest
from PIL import Image

from kon.core.errors import ConfigurationError
from kon.core.options import read_options
from kon.kinds.video import videofile
from kon.kinds.video.film import Film, rate_of
from kon.kinds.video.jobfile import VideoJob
from kon.kinds.video.times import Times
from tests.kinds.video.filming import filmed, pictures, tone
from tests.kinds.video.given import SMALL, watch
from tests.kinds.video.test_moves import ALL

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
    times = Times(film, VideoJob(("a",) * 600))
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
