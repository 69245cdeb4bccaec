"""Cards before and after the images: a text on a colour, or on an image of the album, blurred."""

from __future__ import annotations

from typing import NamedTuple

import av
from PIL import Image, ImageColor

from kon.kinds.video.canvas import Canvas
from kon.kinds.video.film import IMAGE, Film
from kon.kinds.video.planes import blurred, frame_of, planes_of
from kon.kinds.video.times import TITLE


class Card(NamedTuple):
    """name: of the option that asks for it. background: a colour.

    image: the place of the image of the album that is its background instead, from 0; None for none.
    """

    name: str
    text: str
    background: str
    image: int | None


def card_of(film: Film, number: int) -> Card:
    """The card with that number among a job's pictures (see `Times`)."""
    name = "title" if number == TITLE else "end"
    background = getattr(film, f"{name}_background") or film.background
    image = IMAGE.fullmatch(background)
    place = None if image is None else int(image[1]) - 1
    return Card(name, getattr(film, name), film.background if image else background, place)


def plain(film: Film, colour: str) -> av.VideoFrame:
    """A frame of one colour."""
    rgb = ImageColor.getrgb(colour)[:3]
    image = Image.new("RGB", (film.width, film.height), rgb)
    frame: av.VideoFrame = av.VideoFrame.from_image(image)  # type: ignore[no-untyped-call]
    return Canvas(film.width, film.height, rgb).of_rgb(frame).frame


def behind(frame: av.VideoFrame) -> av.VideoFrame:
    """A frame of the film's size as a background for text."""
    return frame_of(blurred(planes_of(frame), (frame.width, frame.height)))
