"""A video file that is written: one stream of pictures, perhaps one of sound."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, NamedTuple, get_args

import av
from av import VideoStream
from av.codec.context import Flags
from av.video.codeccontext import VideoCodecContext

from kon.core.options import OptionError
from kon.kinds.video.film import Film, Preset
from kon.kinds.video.planes import COLOURS
from kon.kinds.video.sound import encode_sound


class Format(NamedTuple):
    """What a container holds, and how. sound: the encoder of sound; None where there can be none.

    options: of the container. pixels: how a frame lies in memory.
    """

    muxer: str
    video: str
    sound: str | None
    options: Mapping[str, str] = {}
    pixels: str = "yuv420p"


FORMATS: Final[Mapping[str, Format]] = {
    # faststart: the index stands before the pictures, so that a browser plays what it has so far
    "mp4": Format("mp4", "libx264", "aac", {"movflags": "+faststart"}),
    "mkv": Format("matroska", "libx264", "aac"),
    "webm": Format("webm", "libvpx-vp9", "libopus"),
    "gif": Format("gif", "gif", None, {"loop": "0"}, "pal8"),
}
"""By what the option `format` says."""

_CPU_USED: Final = (8, 8, 7, 6, 5, 4, 3, 2, 1)
"""libvpx's speeds, for x264's presets."""
_GIF_CLOCK: Final = Fraction(1, 100)


def check_encoders(name: str) -> None:
    """Raises OptionError where this PyAV carries no encoder for a format."""
    form = FORMATS[name]
    for encoder in filter(None, (form.video, form.sound)):
        try:
            av.Codec(encoder, "w")
        except (ValueError, av.FFmpegError) as error:
            raise OptionError(
                f'the PyAV of this host carries no encoder "{encoder}", which {name} needs; install a '
                "wheel of PyPI's, or take another format",
                "format",
            ) from error


def new_encoder(film: Film, options: Mapping[str, str]) -> VideoCodecContext:
    """An encoder whose pictures go into a `VideoFile` that was made with the same options."""
    encoder = av.CodecContext.create(FORMATS[film.format].video, "w")
    assert isinstance(encoder, VideoCodecContext)
    configure(encoder, film, options)
    encoder.flags |= Flags.global_header
    return encoder


class VideoFile:
    """The file and the encoder whose parameters its header has. Not for two threads at once."""

    def __init__(self, path: Path, film: Film, options: Mapping[str, str]) -> None:
        """`options`: of the encoder."""
        self._film = film
        form = FORMATS[film.format]
        self._container = av.open(str(path), "w", format=form.muxer, options=dict(form.options))
        rate = _GIF_CLOCK**-1 if film.format == "gif" else film.rate
        stream = self._container.add_stream(form.video, rate=rate)
        assert isinstance(stream, VideoStream)
        self._video = stream
        configure(self._video.codec_context, film, options)
        self._sound: list[av.Packet[Any]] = []
        self.damaged_s = 0.0
        """Seconds of the sound that could not be decoded, and are silent."""

    @property
    def encoder(self) -> VideoCodecContext:
        return self._video.codec_context

    def add_sound(self, data: bytes, duration_s: float) -> None:
        """Raises KindError for what is no sound. Before `write`."""
        encoder = FORMATS[self._film.format].sound
        assert encoder is not None, "it is refused before"
        sound = encode_sound(data, self._container, encoder, duration_s, self._film)
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
    form = FORMATS[film.format]
    encoder.width, encoder.height, encoder.pix_fmt = film.width, film.height, form.pixels
    encoder.sample_aspect_ratio = Fraction(1)
    if film.format == "gif":  # which has no colours but those of its palettes
        encoder.time_base = _GIF_CLOCK
        return
    encoder.framerate, encoder.time_base = film.rate, 1 / film.rate
    for name, code in COLOURS.items():
        setattr(encoder, name, code)
    encoder.options = {**(_vp9(film) if film.format == "webm" else _h264(film)), **options}


def _h264(film: Film) -> dict[str, str]:
    # b_strategy: no search for where B pictures do best, as images that move do so evenly. A sixth less CPU
    # time, for the same size and SSIM, as measured on photos that zoom.
    return {"preset": film.preset, "crf": f"{film.crf:g}", "tune": "stillimage", "b_strategy": "0"}


def _vp9(film: Film) -> dict[str, str]:
    """Without frames that show nothing, so that each packet is a picture on screen."""
    speed = _CPU_USED[get_args(Preset).index(film.preset)]
    return {
        "crf": str(round(film.crf * 63 / 51)),  # libvpx counts to 63
        "b": "0",
        "deadline": "realtime" if speed >= 5 else "good",
        "cpu-used": str(speed),
        "row-mt": "1",
        "tile-columns": "2",
        "lag-in-frames": "0",
        "auto-alt-ref": "0",
    }
