"""How long each picture is on screen, in frames."""

from __future__ import annotations

from itertools import accumulate
from typing import Final

from kon.core.errors import ConfigurationError
from kon.kinds.video.film import Film, Repeat
from kon.kinds.video.jobfile import VideoJob

TITLE: Final = -1
"""Number of the card before the images; the one after them has the number that follows the last image's."""


class Times:
    """The times of one job's pictures: its images by their places from 0, and its cards.

    With `seconds` each image has a time of its own, or that of the film. With `beats` each begins at a time
    of its own, whatever came of the ones before: the picture before one that is left out stays until the
    next. Beats count from the beginning of the video, the card before the images included.
    """

    def __init__(self, film: Film, job: VideoJob) -> None:
        """Raises ConfigurationError where a picture has no frame, or less time than what happens to it."""
        self._on_beats = bool(job.beats)
        count = len(job.links)
        title_s, end_s = (film.title_s if film.title else 0.0), (film.end_s if film.end else 0.0)
        if job.beats:
            begins_s = [title_s, *job.beats]
        else:
            begins_s = list(accumulate(job.seconds or (film.seconds,) * count, initial=title_s))
        # by the sum, so that what is cut off a time to make whole frames of it never adds up
        self._begins = {number: film.frames(begin_s) for number, begin_s in enumerate(begins_s)}
        self.numbers = list(range(count))
        """Numbers of the pictures, in order."""
        if film.title:
            self._begins[TITLE] = 0
            self.numbers.insert(0, TITLE)
        self._end = film.frames(begins_s[-1] + end_s)
        if film.end:
            self.numbers.append(count)
        ends = [*self.numbers[1:], None]
        self._frames = {
            number: self._start(following) - self._begins[number]
            for number, following in zip(self.numbers, ends, strict=True)
        }
        self._check(film, count)

    @property
    def longest(self) -> int:
        """Frames that a picture is on screen at most."""
        if self._on_beats:
            return self._end  # as all others may be left out
        return max(self._frames.values())

    @property
    def shortest(self) -> int:
        return min(self._frames.values())

    def frames(self, number: int, following: int | None, first: bool) -> int:
        """Frames of a picture by its number. following: the next that is not left out."""
        if not self._on_beats:
            return self._frames[number]
        start = 0 if first else self._begins[number]
        return self._start(following) - start

    def _start(self, number: int | None) -> int:
        return self._end if number is None else self._begins[number]

    def _check(self, film: Film, count: int) -> None:
        passing = film.transition_frames
        for number in self.numbers:
            before = film.frames(film.fade_in_s) if number == self.numbers[0] else 0
            after = film.frames(film.fade_out_s) if number == self.numbers[-1] else passing
            least = max(1, before + after)
            if self._frames[number] < least:
                name = {TITLE: "the title", count: "the end card"}.get(number, f"image {number + 1}")
                raise ConfigurationError(
                    f"{name} would be on screen for {float(self._frames[number] / film.rate):.4g} s; the "
                    f"least is {float(least / film.rate):.4g} s, one frame or its transition and fade"
                )
        if film.repeat == "skip" and self.shortest == 1:
            raise ConfigurationError(
                "a picture has one frame, and with repeat: skip each needs two; leave repeat out, or say "
                "repeat: encode"
            )


def way_of(film: Film, times: Times) -> Repeat:
    """How the frames after a picture's first are made."""
    # H.264 wants two pictures in a row that are coded alone numbered apart, and copied ones are not
    return "encode" if times.shortest == 1 and film.format != "gif" else film.way
