"""What moves: images that grow, pictures that give way to each other, and come out of black or go into it.

`TRANSITIONS` is the one table of transitions. All work on whole planes, in Pillow's own loops: a frame of a
transition takes a few milliseconds at 1080p, and a frame that is still takes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from PIL import Image

from kon.kinds.video.caption import Overlay
from kon.kinds.video.film import MIDDLE, Film, Place
from kon.kinds.video.planes import Planes

Colour = tuple[int, int, int]
BLACK: Final[Colour] = (16, 128, 128)
WHITE: Final[Colour] = (235, 128, 128)
"""As Y, Cb and Cr of BT.709, in limited range."""


class Picture(NamedTuple):
    """What is on screen for a time. The caption lies above what grows, and stays where it is.

    focus: the place in the frame that stays where it is as the picture grows; None for one that does not.
    """

    planes: Planes
    caption: Overlay | None = None
    focus: Place | None = MIDDLE


class FrameSpans(NamedTuple):
    """A picture's frames: some that differ at its beginning, some that are all alike, some at its end."""

    head: int
    still: int
    tail: int


class Shot(NamedTuple):
    """A picture, the one after it if there is one, and its time in frames. first: whether none is before."""

    picture: Picture
    following: Picture | None
    frames: int
    first: bool


def spans(frames: int, film: Film, first: bool, last: bool, grows: bool) -> FrameSpans:
    """grows: whether the picture does, where the film has a zoom."""
    if grows and film.zoom > 1:
        return FrameSpans(frames, 0, 0)
    tail = min(frames, film.frames(film.fade_out_s) if last else film.transition_frames)
    head = min(frames - tail, film.frames(film.fade_in_s) if first else 0)
    return FrameSpans(head, frames - head - tail, tail)


def frame_at(shot: Shot, number: int, film: Film) -> Planes:
    """One of a shot's frames, by its number from 0."""
    scale = 1 + (film.zoom - 1) * number / max(1, shot.frames - 1)
    made = _shown(shot.picture, scale)
    left = shot.frames - number  # this frame included
    if shot.following is not None and left <= film.transition_frames:
        passing = film.transition_frames
        # the following picture does not grow before its own time has come
        share = (passing - left + 1) / (passing + 1)
        made = TRANSITIONS[film.passing](made, _shown(shot.following, 1.0), share)
    fading = film.frames(film.fade_in_s) if shot.first else 0
    if number < fading:
        made = _towards(made, BLACK, 1 - number / fading)
    fading = film.frames(film.fade_out_s) if shot.following is None else 0
    if left <= fading:
        made = _towards(made, BLACK, 1 - (left - 1) / fading)
    return made


def _shown(picture: Picture, scale: float) -> Planes:
    planes = picture.planes
    if picture.focus is not None and scale > 1:
        planes = _grown(planes, scale, picture.focus)
    return planes if picture.caption is None else picture.caption.over(planes)


_SMOOTH: Final = (Image.Resampling.BICUBIC, Image.Resampling.BILINEAR, Image.Resampling.BILINEAR)
"""For Y, Cb and Cr, which have half of its detail anyway. With bilinear luma it would take a quarter less,
and lose .003 of SSIM."""


def _grown(planes: Planes, scale: float, focus: Place) -> Planes:
    """The picture enlarged. The focus stays where it is, so that no edge comes into the frame."""
    grown = []
    for plane, smooth in zip(planes, _SMOOTH, strict=True):
        left, top = (side * (1 - 1 / scale) * share for side, share in zip(plane.size, focus, strict=True))
        box = (left, top, left + plane.width / scale, top + plane.height / scale)
        grown.append(plane.resize(plane.size, smooth, box=box))
    return Planes(*grown)


def _towards(planes: Planes, colour: Colour, share: float) -> Planes:
    """The picture on its way to a colour. share: from 0, the picture alone, to 1."""
    made = []
    for plane, to in zip(planes, colour, strict=True):
        made.append(plane.point([round(level + (to - level) * share) for level in range(256)]))
    return Planes(*made)


# --- transitions -----------------------------------------------------------------------------------------


def _crossfade(own: Planes, following: Planes, share: float) -> Planes:
    return Planes(*(Image.blend(one, other, share) for one, other in zip(own, following, strict=True)))


def _dip(colour: Colour) -> Transit:
    def dip(own: Planes, following: Planes, share: float) -> Planes:
        return _towards(own if share < 0.5 else following, colour, 1 - abs(1 - 2 * share))

    return dip


def _slide(across: int, down: int) -> Transit:
    """The following picture pushes the own one out. across, down: the way that both go, -1, 0 or 1."""

    def slide(own: Planes, following: Planes, share: float) -> Planes:
        width, height = (2 * round(side * share / 2) for side in own.y.size)  # as chroma covers two pixels
        made = []
        for one, other, part in zip(own, following, (1, 2, 2), strict=True):
            plane = Image.new("L", one.size)
            place = (across * width // part, down * height // part)
            plane.paste(one, place)
            plane.paste(other, (place[0] - across * one.width, place[1] - down * one.height))
            made.append(plane)
        return Planes(*made)

    return slide


Transit = Callable[[Planes, Planes, float], Planes]
"""A frame on its way from one picture to the next; the share is above 0 and below 1."""

TRANSITIONS: Final[Mapping[str, Transit]] = {
    "crossfade": _crossfade,
    "dip_black": _dip(BLACK),
    "dip_white": _dip(WHITE),
    "slide_left": _slide(-1, 0),
    "slide_right": _slide(1, 0),
    "slide_up": _slide(0, -1),
    "slide_down": _slide(0, 1),
}
"""All transitions but `cut`, which has no frame of its own."""
