"""What a video is like: its size, its pace, how it is encoded.

This is the one list of the options of a look. The workload's options, the keys and lines of a job, the JSON
Schema and the key of a video all come from it.
"""

from __future__ import annotations

import functools
import math
import re
from fractions import Fraction
from typing import Annotated, Any, Final, Literal

import msgspec

from kon.core.errors import describe
from kon.core.options import OptionError

Repeat = Literal["skip", "encode"]
Fit = Literal["letterbox", "crop", "blur"]
Preset = Literal[
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"
]
"""Presets of x264, from the fastest to the one with the smallest files."""
Transition = Literal[
    "cut",
    "crossfade",
    "dip_black",
    "dip_white",
    "slide_left",
    "slide_right",
    "slide_up",
    "slide_down",
]
Place = tuple[Annotated[float, msgspec.Meta(ge=0, le=1)], Annotated[float, msgspec.Meta(ge=0, le=1)]]
"""A place in a picture, as shares of its width and height, from its upper left corner."""
MIDDLE: Final[Place] = (0.5, 0.5)

_UpTo60 = Annotated[float, msgspec.Meta(ge=0, le=60)]
_Card = Annotated[float, msgspec.Meta(ge=0.1, le=600)]
_Size = Annotated[
    str, msgspec.Meta(pattern=r"^[0-9]+x[0-9]+$", extra={"expected": "WIDTHxHEIGHT such as 1920x1080"})
]
_Rate = Annotated[
    int | float | str,
    msgspec.Meta(extra={"expected": 'a number such as 25 or 29.97, or a fraction such as "30000/1001"'}),
]

_LARGEST: Final = 4_096
"""Pixels on a side, the most that decoders of H.264 commonly take."""
_TRANSITION_S: Final = 0.5
"""How long a transition takes that is named without its time."""
_GIF_FPS: Final = 50
"""Frames a second of a GIF at most: viewers show one of less than two hundredths of a second for ten."""
IMAGE: Final = re.compile(r"image ([1-9][0-9]*)")
"""A card's background that is an image of the album."""


class Film(msgspec.Struct, frozen=True, kw_only=True):
    """A video's look. Raises OptionError for options that do not go together.

    size: the video's size, as WIDTHxHEIGHT. seconds: how long each image is on screen.
    fps: frames a second: a number, or a fraction such as "30000/1001"; 23.976, 29.97 and 59.94 are taken for
        the fractions that they stand for.
    format: the container: mp4 or mkv (H.264 and AAC), webm (VP9 and Opus), gif (no sound).
    repeat: `skip` codes each image once, `encode` every frame; null for `skip` where that is possible.
    preset: the encoder's speed, from ultrafast to veryslow. crf: its quality, on x264's scale; less is
        better, and larger.
    transition: how an image gives way to the next, at the end of its time: cut, crossfade, dip_black or
        dip_white (through a colour), slide_left, slide_right, slide_up or slide_down (the next one pushes it
        out).
    transition_s: how long that takes; null for half a second.
    crossfade_s: short for `transition: crossfade` with this `transition_s`; 0 for none.
    fade_in_s: how long the picture takes to come out of black at the beginning.
    fade_out_s: how long it takes to go into black at the end.
    zoom: how much an image has grown by the end of its time; 1: not at all.
    focus: the place of an image that stays where it is as the image grows, and that `fit: crop` keeps in the
        frame, as shares of its width and height.
    background: the colour around an image, as CSS writes colours.
    fit: letterbox (the whole image on the background), crop (the image fills the frame), or blur (the whole
        image on itself, enlarged and blurred).
    title: the text of a card before the images; empty for none. title_s: how long it is on screen.
    title_background: its colour, or `image 3` for the album's third image, blurred; null for `background`.
    end: the text of a card after the images; empty for none. end_s: how long it is on screen.
    end_background: as title_background, for the card at the end.
    poster: jpeg or png: store the first picture as well, as a file of its own; null for none.
    audio_loop: whether a sound that is shorter than the video begins again.
    audio_fade_s: how long the sound takes to fade out at the video's end.
    caption_font: a family, or a font's file; empty for the one that comes with kon.
    caption_size: the height of captions' letters, as a share of the video's height; cards have twice that.
    caption_position: where captions stand.
    """

    size: _Size = "1920x1080"
    seconds: Annotated[float, msgspec.Meta(gt=0, le=600)] = 1.0
    fps: _Rate = 25
    format: Literal["mp4", "mkv", "webm", "gif"] = "mp4"
    repeat: Repeat | None = None
    preset: Preset = "superfast"
    crf: Annotated[float, msgspec.Meta(ge=1, le=51)] = 25.0
    transition: Transition | None = None
    transition_s: Annotated[float, msgspec.Meta(gt=0, le=60)] | None = None
    crossfade_s: _UpTo60 = 0.0
    fade_in_s: _UpTo60 = 0.0
    fade_out_s: _UpTo60 = 0.0
    zoom: Annotated[float, msgspec.Meta(ge=1, le=2)] = 1.0
    focus: Place = MIDDLE
    background: str = "black"
    fit: Fit = "letterbox"
    title: str = ""
    title_s: _Card = 3.0
    title_background: str | None = None
    end: str = ""
    end_s: _Card = 3.0
    end_background: str | None = None
    poster: Literal["jpeg", "png"] | None = None
    audio_loop: bool = False
    audio_fade_s: _UpTo60 = 0.0
    caption_font: str = ""
    caption_size: Annotated[float, msgspec.Meta(ge=0.01, le=0.2)] = 0.045
    caption_position: Literal["bottom", "middle", "top"] = "bottom"

    def __post_init__(self) -> None:
        for side, pixels in (("width", self.width), ("height", self.height)):
            if not (16 <= pixels <= _LARGEST and pixels % 2 == 0):
                raise OptionError(
                    f"expected a {side} that is an even number from 16 to {_LARGEST}, found {pixels}", "size"
                )
        for name in ("background", "title_background", "end_background"):
            _check_colour(name, getattr(self, name))
        self._check_transition()
        self._check_times()
        self._check_format()
        if self.repeat == "skip" and (reason := self._moves()):
            raise OptionError(
                f"skip shows each image still, and {reason}; leave repeat out, or say repeat: encode",
                "repeat",
            )

    @property
    def width(self) -> int:
        return int(self.size.partition("x")[0])

    @property
    def height(self) -> int:
        return int(self.size.partition("x")[2])

    @property
    def rate(self) -> Fraction:
        """Frames a second."""
        return rate_of(self.fps)

    @property
    def way(self) -> Repeat:
        """How the frames after an image's first are made, where each image has two frames at least."""
        if self.format == "webm":
            return "encode"
        return self.repeat or ("encode" if self._moves() else "skip")

    @property
    def passing(self) -> Transition:
        """The transition, by whichever option it was asked for."""
        return self.transition or ("crossfade" if self.crossfade_s else "cut")

    @property
    def transition_frames(self) -> int:
        if self.passing == "cut":
            return 0
        return max(1, self.frames(self.crossfade_s or self.transition_s or _TRANSITION_S))

    @property
    def still(self) -> bool:
        """Whether each image's frames are all alike, from the first to the last."""
        return self.zoom == 1 and not (self.transition_frames or self.fade_in_s or self.fade_out_s)

    def frames(self, seconds: float) -> int:
        """The nearest number of frames."""
        return round(seconds * float(self.rate))

    def _check_transition(self) -> None:
        if self.crossfade_s and (self.transition or self.transition_s):
            raise OptionError(
                "it stands for transition: crossfade with a transition_s; write these two, or crossfade_s "
                "alone",
                "crossfade_s",
            )
        if self.transition_s and self.passing == "cut":
            raise OptionError(
                "a cut takes no time: say which transition it is, such as transition: crossfade, or leave "
                "transition_s out",
                "transition_s",
            )

    def _check_times(self) -> None:
        rate = self.rate
        if self.seconds * rate < 1:
            raise OptionError(
                f"expected a number from {float(1 / rate):g}, found {self.seconds:g}", "seconds"
            )
        if self.crossfade_s > self.seconds:
            raise OptionError(
                f"expected a number from 0 to {self.seconds:g}, the seconds of an image, found "
                f"{self.crossfade_s:g}",
                "crossfade_s",
            )
        if rate.denominator != 1:  # no second is a whole number of frames; they are rounded by their sum
            return
        for name in ("seconds", "crossfade_s"):
            seconds = getattr(self, name)
            if not math.isclose(seconds * rate, round(seconds * rate), abs_tol=1e-6):
                raise OptionError(
                    f"{seconds:g} s is no whole number of frames at {rate} frames a second; take a multiple "
                    f"of {float(1 / rate):g} s",
                    name,
                )

    def _check_format(self) -> None:
        if self.format == "webm" and self.repeat == "skip":
            raise OptionError(
                "webm has every frame encoded; leave repeat out, or say format: mp4 or mkv", "repeat"
            )
        if self.format != "gif":
            return
        if self.repeat == "encode":
            raise OptionError(
                "gif holds each picture for its time; leave repeat out, or say format: mp4, mkv or webm",
                "repeat",
            )
        if self.rate > _GIF_FPS:
            raise OptionError(
                f"a GIF has at most {_GIF_FPS} frames a second; found {describe(self.fps)}; say fewer, or "
                "format: mp4, mkv or webm",
                "fps",
            )

    def _moves(self) -> str:
        """Why no image is still, if that is so."""
        if self.zoom > 1 and self.format != "gif":
            return "zoom has them grow"
        if self.seconds * self.rate < 1.5 and self.format != "gif":
            return "with one frame for each image there is nothing to skip"
        return ""


LOOKS: Final = {field.encode_name: field.type for field in msgspec.structs.fields(Film)}
"""The options of a look, with their types."""


def film_of(options: msgspec.Struct) -> Film:
    """The look among the options of a struct that has all of a look's."""
    return Film(**{name: getattr(options, name) for name in LOOKS})


def values_of(film: Film) -> dict[str, Any]:
    """Its options, as files have them."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name in LOOKS
        if (value := getattr(film, name)) is not None
    }


_NTSC: Final = {"23.976": 24, "29.97": 30, "47.952": 48, "59.94": 60, "119.88": 120}
"""What people write for the rates of n x 1000/1001."""
_NEAR: Final = Fraction(1, 50)
_RATE_WORDS: Final = 'a number such as 25 or 29.97, or a fraction such as "30000/1001"'


@functools.lru_cache(maxsize=64)
def rate_of(fps: float | str) -> Fraction:
    """Frames a second, exactly. Raises OptionError."""
    text = str(fps).strip()
    text = text.removesuffix(".0")
    if text in _NTSC:
        return Fraction(_NTSC[text] * 1_000, 1_001)
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError) as error:
        raise OptionError(f"expected {_RATE_WORDS}, found {describe(fps)}", "fps") from error
    if not 1 <= rate <= 120:
        raise OptionError(f"expected a number from 1 to 120, found {text}", "fps")
    if rate.denominator > 10_000:
        raise OptionError(f"expected a fraction with at most 10000 below the line, found {text}", "fps")
    for written, whole in _NTSC.items():
        meant = Fraction(whole * 1_000, 1_001)
        if "/" not in text and rate.denominator != 1 and abs(rate - meant) < _NEAR:
            raise OptionError(
                f"{text} may stand for {meant}, which is written {written}, or for exactly "
                f'"{rate.numerator}/{rate.denominator}"; write the one that is meant',
                "fps",
            )
    return rate


def _check_colour(name: str, said: str | None) -> None:
    """Raises OptionError."""
    if said is None or said == "black" or (name != "background" and IMAGE.fullmatch(said)):
        return
    from PIL import ImageColor  # takes a while to import, and most looks do without

    try:
        ImageColor.getrgb(said)
    except ValueError as error:
        or_image = "" if name == "background" else ", or an image of the album such as `image 3`"
        raise OptionError(
            f'expected a colour such as "black" or "#102030"{or_image}, found {describe(said)}', name
        ) from error
