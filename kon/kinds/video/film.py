"""What a video is like: its size, its pace, how it is encoded."""

from __future__ import annotations

import math
from typing import Final, Literal

import msgspec

from kon.core.errors import describe
from kon.core.options import OptionError

PRESETS: Final = (
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
    "slow",
    "slower",
    "veryslow",
)
"""Presets of x264, from the fastest to the one with the smallest files."""

Repeat = Literal["skip", "encode"]
Fit = Literal["letterbox", "crop", "blur"]

_LARGEST: Final = 4_096
"""Pixels on a side, the most that decoders of H.264 commonly take."""


class Film(msgspec.Struct, frozen=True):
    """A video's look. Raises OptionError for what can't be.

    image_s: how long each image is on screen, in seconds.
    repeat: `skip`: each image is coded once, and the other frames of its time are slices that say "as
        before"; `encode`: every frame is encoded. None for `skip` wherever that is possible.
    preset, crf: x264's speed, and its quality: less is better and larger.
    crossfade_s: how long an image takes to give way to the next, at the end of its time.
    zoom: how much an image has grown by the end of its time; 1 for not at all.
    background: the colour of what an image does not cover, as CSS writes colours.
    fit: `letterbox` shows an image whole, on the background; `crop` fills the frame and cuts off the rest;
        `blur` shows it whole, on itself, enlarged, blurred and darker.
    audio_loop: whether a sound that is shorter than the video begins again. audio_fade_s: how long it takes
        to fade out at the end.
    caption_font: a family, or a font's file; empty for the one that comes with kon. caption_size: height of
        the letters, by the height of the picture.
    """

    width: int = 1920
    height: int = 1080
    fps: int = 25
    image_s: float = 1.0
    container: Literal["mp4", "mkv"] = "mp4"
    repeat: Repeat | None = None
    preset: str = "superfast"
    crf: float = 25.0
    crossfade_s: float = 0.0
    zoom: float = 1.0
    background: str = "black"
    fit: Fit = "letterbox"
    audio_loop: bool = False
    audio_fade_s: float = 0.0
    caption_font: str = ""
    caption_size: float = 0.045
    caption_position: Literal["bottom", "middle", "top"] = "bottom"

    def __post_init__(self) -> None:
        for name, size in (("width", self.width), ("height", self.height)):
            if not (16 <= size <= _LARGEST and size % 2 == 0):
                raise OptionError(
                    f"{name}: expected an even number from 16 to {_LARGEST}, found {size}", "size"
                )
        _check_range("fps", self.fps, 1, 120)
        _check_range("seconds", self.image_s, 1 / self.fps, 600)
        _check_range("crf", self.crf, 1, 51)
        _check_range("zoom", self.zoom, 1, 2)
        _check_range("audio_fade_s", self.audio_fade_s, 0, 60)
        _check_range("caption_size", self.caption_size, 0.01, 0.2)
        _check_range("crossfade_s", self.crossfade_s, 0, self.image_s)
        if self.preset not in PRESETS:
            raise OptionError(
                f"preset: expected one of {', '.join(PRESETS)}, found {describe(self.preset)}", "preset"
            )
        for name, seconds in (("seconds", self.image_s), ("crossfade_s", self.crossfade_s)):
            if not math.isclose(seconds * self.fps, round(seconds * self.fps), abs_tol=1e-6):
                raise OptionError(
                    f"{name}: {seconds:g} s is no whole number of frames at {self.fps} frames a second; "
                    f"take a multiple of {1 / self.fps:g} s",
                    name,
                )
        if self.repeat == "skip" and (reason := self._moves()):
            raise OptionError(
                f"repeat: skip shows each image still, and {reason}; leave repeat out, or say repeat: encode",
                "repeat",
            )

    @property
    def way(self) -> Repeat:
        """How the frames after an image's first are made."""
        return self.repeat or ("encode" if self._moves() else "skip")

    @property
    def image_frames(self) -> int:
        """Frames that each image is on screen."""
        return round(self.image_s * self.fps)

    @property
    def crossfade_frames(self) -> int:
        return round(self.crossfade_s * self.fps)

    def _moves(self) -> str:
        """Why frames of one image differ, if they do."""
        if self.crossfade_s:
            return "crossfade_s has images give way to each other"
        if self.zoom > 1:
            return "zoom has them grow"
        if self.image_frames == 1:
            return "with one frame for each image there is nothing to skip"
        return ""


def _check_range(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise OptionError(f"{name}: expected a number from {least:g} to {most:g}, found {value:g}", name)
