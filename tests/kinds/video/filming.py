"""Videos that tests make without a job: pictures, a sound, the file, and when its pictures change."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np

from kon.kinds.pictures.header import read_header
from kon.kinds.video.decode import Decoder
from kon.kinds.video.film import Film
from kon.kinds.video.job import make_encoder
from kon.kinds.video.jobfile import VideoJob
from kon.kinds.video.times import Times
from tests.kinds.video.given import SMALL, encoded, photo, watch


def pictures(film: Film, count: int) -> list[av.VideoFrame]:
    decoder = Decoder(film)
    found = []
    for part in range(count):
        data = encoded(photo(700 + 90 * part, 800 - 70 * part, part))
        found.append(decoder.decode(data, read_header(data)))
    return found


def times(film: Film, images: int = 1, **given: Any) -> Times:
    return Times(film, VideoJob(tuple(map(str, range(images))), **given))


def filmed(
    folder: Path,
    film: Film,
    frames: list[av.VideoFrame],
    sound: bytes | None = None,
    taken: Sequence[int] | None = None,
    **given: Any,
) -> Path:
    """taken: the images that are in the video, by their places; None for all."""
    path = folder / f"video.{film.format}"
    encoder = make_encoder(path, film, times(film, len(frames), **given))
    try:
        for number in range(len(frames)) if taken is None else taken:
            encoder.add(encoder.prepare(frames[number]), number)
        encoder.finish(sound)
    finally:
        encoder.close()
    return path


FULL = Film()


def switches(path: Path) -> list[float]:
    """When each image but the first begins, in seconds."""
    luma = watch(path).luma
    changed = [n for n in range(1, len(luma)) if np.abs(luma[n].astype(int) - luma[n - 1]).mean() > 3]
    return [number / float(SMALL.rate) for number in changed]


def tone(seconds: float, rate: int = 22_050) -> bytes:
    """A WAV file: one channel of a square wave."""
    samples = bytes([64, 192] * round(seconds * rate / 2))
    head = b"RIFF" + (36 + len(samples)).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little")
    form = b"".join(
        n.to_bytes(size, "little") for n, size in ((1, 2), (1, 2), (rate, 4), (rate, 4), (1, 2), (8, 2))
    )
    return head + form + b"data" + len(samples).to_bytes(4, "little") + samples
