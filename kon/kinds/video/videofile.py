"""A video file that is written: one stream of pictures, perhaps one of sound."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
from av.video.codeccontext import VideoCodecContext

from kon.kinds.video.film import Film
from kon.kinds.video.planes import COLOURS
from kon.kinds.video.sound import encode_sound

_FORMATS: Final = {"mp4": "mp4", "mkv": "matroska"}
_OPTIONS: Final[dict[str, dict[str, str]]] = {"mp4": {"movflags": "+faststart"}, "mkv": {}}
"""faststart: the index stands before the pictures, so that a browser plays what it has so far."""


class VideoFile:
    """The file and the encoder whose parameters its header has. Not for two threads at once."""

    def __init__(self, path: Path, film: Film, options: Mapping[str, str]) -> None:
        """`options`: of the encoder."""
        self._film = film
        self._container = av.open(
            str(path), "w", format=_FORMATS[film.container], options=_OPTIONS[film.container]
        )
        self._video = self._container.add_stream("libx264", rate=film.fps)
        configure(self._video.codec_context, film, options)
        self._sound: list[av.Packet[Any]] = []
        self.damaged_s = 0.0
        """Seconds of the sound that could not be decoded, and are silent."""

    @property
    def encoder(self) -> VideoCodecContext:
        return self._video.codec_context

    def add_sound(self, data: bytes, duration_s: float) -> None:
        """Raises KindError for what is no sound. Before `write`."""
        sound = encode_sound(data, self._container, duration_s, self._film)
        self._sound, self.damaged_s = sound.packets, sound.damaged_s

    def write(self, packets: Sequence[av.Packet[Any]]) -> None:
        """All the coded pictures, in order, in ticks of a frame each, and the sound between them."""
        for packet in packets:
            packet.stream = self._video
            packet.time_base = self.encoder.time_base
        # by their times, so that a player finds near each other what it plays together
        for packet in heapq.merge(packets, self._sound, key=_dts_s):
            self._container.mux(packet)

    def close(self) -> None:
        self._container.close()


def _dts_s(packet: av.Packet[Any]) -> Fraction:
    assert packet.dts is not None
    return packet.dts * packet.time_base


def configure(encoder: VideoCodecContext, film: Film, options: Mapping[str, str]) -> None:
    """Set an encoder up for a look."""
    encoder.width, encoder.height, encoder.pix_fmt = film.width, film.height, "yuv420p"
    encoder.framerate, encoder.time_base = Fraction(film.fps), Fraction(1, film.fps)
    encoder.sample_aspect_ratio = Fraction(1)
    for name, code in COLOURS.items():
        setattr(encoder, name, code)
    encoder.options = {"preset": film.preset, "crf": f"{film.crf:g}", "tune": "stillimage", **options}
