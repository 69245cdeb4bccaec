"""A sound file, made as long as its video: cut off, or with silence after it.

This is the one place where a demuxer opens what a link led to. It is told which formats and protocols it may
use: else a playlist that somebody sent in would have it open files of this machine, or addresses.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Final, NamedTuple

import av
from av.audio.fifo import AudioFifo
from av.container import OutputContainer

from kon.core.errors import KindError

FORMATS: Final = ("aac", "aiff", "au", "caf", "flac", "matroska", "webm", "mov", "mp4", "mp3", "ogg", "wav")
"""Demuxers that read the file that they are given and nothing else. Playlists and descriptions of sessions
(hls, dash, concat, sdp, and so on) are not among them."""

_RATE_HZ: Final = 48_000
_FRAME: Final = 1_024
"""Samples that AAC codes at once."""
_BITS_A_SECOND: Final = 128_000


class Sound(NamedTuple):
    """packets: the coded stream. damaged_s: seconds of silence in place of what could not be decoded."""

    packets: list[av.Packet[Any]]
    damaged_s: float


def encode_sound(data: bytes, container: OutputContainer, duration_s: float) -> Sound:
    """A new stream of the container: AAC, stereo. Raises KindError for what is no sound."""
    stream = container.add_stream("aac", rate=_RATE_HZ, layout="stereo")
    stream.codec_context.bit_rate = _BITS_A_SECOND
    samples = round(duration_s * _RATE_HZ)
    packets: list[av.Packet[Any]] = []
    fifo = AudioFifo()
    done = 0
    damaged = _Damaged()
    try:
        for frame in _decoded(data, damaged):
            fifo.write(frame)
            while done < samples and (ready := fifo.read(min(_FRAME, samples - done))) is not None:
                packets += stream.encode(_at(ready, done))
                done += ready.samples
            if done >= samples:
                break
    except (av.FFmpegError, ValueError) as error:
        raise KindError(f"the audio can't be decoded: {error}; {_TAKEN}") from error
    rest = fifo.read(0, partial=True)
    for frame in [rest] if rest is not None and done < samples else []:
        packets += stream.encode(_at(frame, done))
        done += frame.samples
    while done < samples:
        silence = _silence(min(_FRAME, samples - done))
        packets += stream.encode(_at(silence, done))
        done += silence.samples
    packets += stream.encode(None)
    return Sound(packets, damaged.samples / _RATE_HZ)


_TAKEN: Final = f"sound is taken as one of {', '.join(FORMATS)}"


class _Damaged:
    """samples: of silence that stands for what could not be decoded, at `_RATE_HZ`."""

    def __init__(self) -> None:
        self.samples = 0


def _decoded(data: bytes, damaged: _Damaged) -> Iterator[av.AudioFrame]:
    """As AAC takes it. A damaged stretch is as long as it was, and silent."""
    allowed = {"format_whitelist": ",".join(FORMATS), "protocol_whitelist": "none"}
    with av.open(io.BytesIO(data), "r", options=allowed) as source:
        if not source.streams.audio:
            raise KindError("the audio has no sound in it")
        stream = source.streams.audio[0]
        resampler = av.AudioResampler("fltp", "stereo", _RATE_HZ)
        heard, failure = False, None
        for packet in source.demux(stream):
            try:
                frames = packet.decode()
            except av.InvalidDataError as error:
                failure = error
                lost = round((packet.duration or 0) * (packet.time_base or Fraction(0)) * _RATE_HZ)
                if lost:
                    damaged.samples += lost
                    yield _silence(lost)
                continue
            for frame in frames:
                heard = True
                frame.pts = None
                yield from resampler.resample(frame)
        yield from resampler.resample(None)
        if not heard and failure is not None:
            raise failure


def _silence(samples: int) -> av.AudioFrame:
    silence = av.AudioFrame("fltp", "stereo", samples)
    silence.sample_rate = _RATE_HZ
    for plane in silence.planes:
        plane.update(bytes(plane.buffer_size))
    return silence


def _at(frame: av.AudioFrame, sample: int) -> av.AudioFrame:
    frame.pts, frame.time_base = sample, Fraction(1, _RATE_HZ)
    return frame
