"""Pictures with grain: they are found, and coded so that they are as much like their source as others."""

from __future__ import annotations

from typing import Final

import av
import msgspec
import numpy as np
import pytest
from PIL import Image

from kon.kinds.pictures.header import read_header
from kon.kinds.video.alone import FINER, Alone, encoder_of, is_grainy
from kon.kinds.video.decode import Decoder
from kon.kinds.video.film import Film
from kon.kinds.video.planes import frame_of, planes_of
from tests.kinds.video.given import encoded, luma_of, photo, ssim

FILM: Final = Film(size="960x540", fit="crop")


def grainy(deviation: float) -> av.VideoFrame:
    """A photo with noise on its luma, by its standard deviation in levels."""
    data = encoded(photo(1280, 720))
    planes = planes_of(Decoder(FILM).decode(data, read_header(data)))
    luma = np.asarray(planes.y, np.float64)
    luma = luma + np.random.default_rng(1).normal(0, deviation, luma.shape)
    grained = np.clip(np.round(luma), 16, 235).astype(np.uint8)
    return frame_of(planes._replace(y=Image.fromarray(grained)))


def shown(coded: bytes) -> av.VideoFrame:
    decoder = av.CodecContext.create("h264", "r")
    encoder = encoder_of(FILM, 1)
    encoder.open()
    decoder.extradata = encoder.extradata
    [frame] = [*decoder.decode(av.Packet(coded)), *decoder.decode(None)]
    assert isinstance(frame, av.VideoFrame)
    return frame


@pytest.mark.parametrize("deviation", [2, 3, 4, 5])
def test_a_picture_with_grain_is_coded_better(deviation: float) -> None:
    frame = grainy(deviation)
    plain = Alone(FILM).with_qp(frame, round(FILM.crf))
    assert ssim(luma_of(shown(plain)), luma_of(frame)) < 0.97  # other pictures have .98
    assert ssim(luma_of(shown(Alone(FILM).coded(frame))), luma_of(frame)) >= 0.97


@pytest.mark.parametrize("deviation", [0, 12, 20])
def test_other_pictures_are_coded_once(deviation: float) -> None:
    frame = grainy(deviation)
    assert not is_grainy(frame)
    assert Alone(FILM).coded(frame) == Alone(FILM).with_qp(frame, round(FILM.crf))


def test_grain_counts_at_any_quality() -> None:
    film = msgspec.structs.replace(FILM, crf=40.0)
    frame = grainy(3)
    assert Alone(film).coded(frame) == Alone(film).with_qp(frame, 40 - FINER)


def test_the_best_quality_stays_lossy() -> None:
    frame = grainy(3)
    assert Alone(msgspec.structs.replace(FILM, crf=2.0)).coded(frame) == Alone(FILM).with_qp(frame, 1)


def test_a_small_picture_is_taken_as_it_is() -> None:
    assert not is_grainy(av.VideoFrame(32, 32, "yuv420p"))
