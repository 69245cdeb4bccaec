"""What moves: images that grow, and give way to each other."""

from __future__ import annotations

from collections.abc import Iterator

from PIL import Image

from kon.kinds.video.film import Film
from kon.kinds.video.planes import Planes


def frames_between(planes: Planes, following: Planes | None, film: Film) -> Iterator[Planes]:
    """Each frame of an image's time; at its end the `following` one shows through more and more."""
    fading = film.crossfade_frames if following is not None else 0
    for number in range(film.image_frames):
        moved = _grown(planes, number, film)
        since = number - (film.image_frames - fading) + 1
        if following is not None and since > 0:
            # the following image does not grow before its own time has come
            moved = Planes(
                *(
                    Image.blend(own, other, since / (fading + 1))
                    for own, other in zip(moved, following, strict=True)
                )
            )
        yield moved


def _grown(planes: Planes, number: int, film: Film) -> Planes:
    """The picture as large as it is in that frame: from its own size to `zoom` times that."""
    scale = 1 + (film.zoom - 1) * number / max(1, film.image_frames - 1)
    if scale == 1:
        return planes
    grown = []
    for plane in planes:
        across, down = plane.width * (1 - 1 / scale) / 2, plane.height * (1 - 1 / scale) / 2
        box = (across, down, plane.width - across, plane.height - down)
        grown.append(plane.resize(plane.size, Image.Resampling.BICUBIC, box=box))
    return Planes(*grown)
