"""What moves: images that grow, and give way to each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from PIL import Image

from kon.kinds.video.caption import Overlay
from kon.kinds.video.film import Film
from kon.kinds.video.planes import Planes


class Picture(NamedTuple):
    """What is on screen for an image's time. The caption lies above what moves, and stays where it is."""

    planes: Planes
    caption: Overlay | None = None


def frames_between(picture: Picture, following: Picture | None, frames: int, film: Film) -> Iterator[Planes]:
    """Each of an image's frames; at its end the `following` one shows through more and more."""
    fading = film.crossfade_frames if following is not None else 0
    for number in range(frames):
        moved = _grown(picture.planes, number, frames, film)
        since = number - (frames - fading) + 1
        if following is None or since <= 0:
            yield _captioned(moved, picture.caption, 1.0)
            continue
        share = since / (fading + 1)
        # the following image does not grow before its own time has come
        pairs = zip(moved, following.planes, strict=True)
        moved = Planes(*(Image.blend(own, other, share) for own, other in pairs))
        moved = _captioned(moved, picture.caption, 1 - share)
        yield _captioned(moved, following.caption, share)


def _captioned(planes: Planes, caption: Overlay | None, opacity: float) -> Planes:
    return planes if caption is None else caption.over(planes, opacity)


def _grown(planes: Planes, number: int, frames: int, film: Film) -> Planes:
    """The picture as large as it is in that frame: from its own size to `zoom` times that."""
    scale = 1 + (film.zoom - 1) * number / max(1, frames - 1)
    if scale == 1:
        return planes
    grown = []
    for plane in planes:
        across, down = plane.width * (1 - 1 / scale) / 2, plane.height * (1 - 1 / scale) / 2
        box = (across, down, plane.width - across, plane.height - down)
        grown.append(plane.resize(plane.size, Image.Resampling.BICUBIC, box=box))
    return Planes(*grown)
