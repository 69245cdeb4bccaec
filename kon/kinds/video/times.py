"""How long each image is on screen, in frames."""

from __future__ import annotations

from itertools import accumulate, pairwise

from kon.core.errors import ConfigurationError
from kon.kinds.video.film import Film
from kon.kinds.video.jobfile import Job


class Times:
    """The times of one job.

    With `seconds` each image has a time of its own, or that of the film. With `beats` each begins at a time
    of its own, whatever came of the ones before: the image before one that is left out stays until the next.
    """

    def __init__(self, film: Film, job: Job) -> None:
        """Raises ConfigurationError where an image would have no frame, or less time than its crossfade."""
        self._on_beats = bool(job.beats)
        count = len(job.links)
        ends_s = [*job.beats, *accumulate(job.seconds or (film.image_s,) * count)]
        # by the sum, so that what is cut off a time to make whole frames of it never adds up
        self._starts = [0, *(round(end_s * film.fps) for end_s in ends_s[:count])]
        for number, (start, end) in enumerate(pairwise(self._starts), start=1):
            least = max(1, film.crossfade_frames)
            if end - start < least:
                raise ConfigurationError(
                    f"image {number} would be on screen for {(end - start) / film.fps:g} s; the least is "
                    f"{least / film.fps:g} s, one frame or the crossfade"
                )

    @property
    def longest(self) -> int:
        """Frames that an image is on screen at most."""
        if self._on_beats:
            return self._starts[-1]  # as all others may be left out
        return max(end - start for start, end in pairwise(self._starts))

    def frames(self, number: int, following: int | None, first: bool) -> int:
        """Frames of an image by its place, from 0. following: the next that is not left out."""
        if not self._on_beats:
            return self._starts[number + 1] - self._starts[number]
        start = 0 if first else self._starts[number]
        return self._starts[-1 if following is None else following] - start
