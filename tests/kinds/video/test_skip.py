"""Skipped frames: each is the one before it, costs nothing, and no picture changes for it."""

from __future__ import annotations

from pathlib import Path

import av
import msgspec
import numpy as np
import pytest

from kon.core.errors import KindError
from kon.kinds.video import alone, skip
from kon.kinds.video.alone import START, Alone, slice_of
from kon.kinds.video.encode import intra
from kon.kinds.video.film import Film
from kon.kinds.video.skip import SkipEncoder
from tests.kinds.video.filming import FULL, filmed, pictures, times
from tests.kinds.video.given import SMALL, watch


def test_a_skipped_frame_is_exactly_the_one_before_it(tmp_path: Path) -> None:
    film = msgspec.structs.replace(SMALL, fps=25, seconds=2.0)  # more than the 16 that frame numbers count to
    video = watch(filmed(tmp_path, film, pictures(film, 2)))
    for first in (0, 50):
        for number in range(first + 1, first + 50):
            assert np.array_equal(video.luma[number], video.luma[first])
            assert all(map(np.array_equal, video.chroma[number], video.chroma[first]))


def test_skipped_frames_cost_nothing(tmp_path: Path) -> None:
    frames = pictures(FULL, 2)
    path = filmed(tmp_path, FULL, frames)
    with av.open(str(path), "r") as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    keys = [packet.size for packet in packets if packet.is_keyframe]
    rest = [packet.size for packet in packets if not packet.is_keyframe]
    assert (len(keys), len(rest)) == (2, 48)
    assert max(rest) < 150


def test_an_image_is_coded_the_same_whatever_else_is_in_the_video(tmp_path: Path) -> None:
    frames = pictures(SMALL, 3)
    one, other = (SkipEncoder(tmp_path / name, SMALL, times(SMALL)) for name in ("1.mp4", "2.mp4"))
    assert [one.prepare(each) for each in frames] == [other.prepare(each) for each in reversed(frames)][::-1]
    one.close()
    other.close()


def test_a_picture_is_coded_alone_as_it_would_be_with_others_after_it(tmp_path: Path) -> None:
    """So that the file's parameters are those that it is decoded by, bit for bit."""
    for film in (
        SMALL,
        FULL,
        msgspec.structs.replace(SMALL, preset="slow"),
        msgspec.structs.replace(SMALL, fps=60),
    ):
        for frame in pictures(film, 2):
            followed = alone.encoder_of(film, film.frames(film.seconds), parameters="qp=23")
            packets = [*followed.encode(intra(frame, 0)), *followed.encode(None)]
            assert Alone(film).with_qp(frame, 23) == START + slice_of(bytes(packets[0])), film


@pytest.mark.parametrize("film", [SMALL, FULL, msgspec.structs.replace(SMALL, preset="slow", crf=1)])
@pytest.mark.long
def test_an_encoder_that_is_used_again_codes_each_picture_as_a_fresh_one(film: Film) -> None:
    again = Alone(film)
    for frame in pictures(film, 5):
        assert again.coded(frame) == Alone(film).coded(frame)


def test_skipped_frames_are_those_that_x264_makes_of_whole_pictures() -> None:
    """Sizes that are no whole number of macroblocks, and more frames than their numbers count to."""
    for size in ("1920x1080", "1280x720", "854x480", "322x178", "16x16"):
        film = msgspec.structs.replace(SMALL, size=size)
        assert list(skip._skipped_frames(film, 20)) == skip._followers(film, 20)


def test_a_picture_that_would_be_coded_otherwise_alone_is_not_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    options = alone.skip_options

    def sharper(interval: int, parameters: str = "") -> dict[str, str]:
        said = options(interval, parameters)
        return {**said, "x264-params": said["x264-params"] + (":8x8dct=1" if interval == 1 else "")}

    monkeypatch.setattr(alone, "skip_options", sharper)
    with pytest.raises(KindError, match=r"another picture where it is the only one.*say repeat: encode"):
        SkipEncoder(tmp_path / "1.mp4", film := msgspec.structs.replace(SMALL, crf=23), times(film))


def test_frames_that_would_not_be_skips_are_not_copied(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def coded(unit: bytes, macroblocks: int) -> bytes:
        raise ValueError

    for wrong in (coded, lambda unit, macroblocks: unit):
        monkeypatch.setattr(skip, "skipping", wrong)
        with pytest.raises(KindError, match=r"where nothing moves.*say repeat: encode"):
            SkipEncoder(tmp_path / "1.mp4", film := msgspec.structs.replace(SMALL, crf=24), times(film))
