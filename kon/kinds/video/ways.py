"""Which encoder makes a video."""

from __future__ import annotations

from pathlib import Path

from kon.kinds.video.encode import Encoder, FrameEncoder
from kon.kinds.video.film import Film
from kon.kinds.video.gif import GifEncoder
from kon.kinds.video.skip import SkipEncoder
from kon.kinds.video.times import Times, way_of


def make_encoder(path: Path, film: Film, times: Times) -> Encoder:
    if film.format == "gif":
        return GifEncoder(path, film, times)
    return (SkipEncoder if way_of(film, times) == "skip" else FrameEncoder)(path, film, times)
