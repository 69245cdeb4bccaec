"""A sound file, made as long as its video: cut off, or with silence after it.

This is the one place where a demuxer opens what a link led to. It is told which formats and protocols it may
use: else a playlist that somebody sent in would have it open files of this machine, or addresses.
"""

from __future__ import annotations

import io
from array import array
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Final, NamedTuple

import av
from av import AudioStream
from av.audio.fifo import AudioFifo
from av.container import OutputContainer

from kon.core.errors import KindError
from kon.kinds.video.film import Film

FORMATS: Final = ("aac", "aiff", "au", "caf", "flac", "matroska", "webm", "mov", "mp4", "mp3", "ogg", "wav")
"""Demuxers that read the file that they are given and nothing else. Playlists and descriptions of sessions
(hls, dash, concat, sdp, and so on) are not among them."""

_RATE_HZ: Final = 48_000
_FRAMES: Final = {"aac": 1_024, "libopus": 960}
"""Samples that an encoder codes at once."""
_BITS_A_SECOND: Final = 128_000


class Sound(NamedTuple):
    """packets: the coded stream. damaged_s: seconds of silence in place of what could not be decoded."""

    packets: list[av.Packet[Any]]
    damaged_s: float


_TAKEN: Final = f"sound is taken as one of {', '.join(FORMATS)}"


def encode_sound(
    data: bytes, container: OutputContainer, encoder: str, duration_s: float, film: Film
) -> Sound:
    """A new stream of the container, stereo. Raises KindError for what is no sound."""
    stream = container.add_stream(encoder, rate=_RATE_HZ, layout="stereo")
    assert isinstance(stream, AudioStream)
    stream.codec_context.bit_rate = _BITS_A_SECOND
    samples = round(duration_s * _RATE_HZ)
    fading = min(samples, round(film.audio_fade_s * _RATE_HZ))
    packets: list[av.Packet[Any]] = []
    damaged = _Damaged()
    done = 0
    try:
        for frame in _sized(data, samples, _FRAMES[encoder], damaged, film.audio_loop):
            if done + frame.samples > samples - fading:
                _fade(frame, done - (samples - fading), fading)
            packets += stream.encode(_at(frame, done))
            done += frame.samples
    except (av.FFmpegError, ValueError) as error:
        raise KindError(f"the audio can't be decoded: {error}; {_TAKEN}") from error
    packets += stream.encode(None)
    return Sound(packets, damaged.samples / _RATE_HZ)


def _sized(
    data: bytes, samples: int, frame_samples: int, damaged: _Damaged, loop: bool
) -> Iterator[av.AudioFrame]:
    """The sound in frames of that size, `samples` in all: cut off, repeated, or followed by silence."""
    fifo = AudioFifo()
    done = 0
    rounds = _rounds(data, damaged) if loop else _decoded(data, damaged)
    for frame in rounds:
        frame.pts = None  # which begins at 0 again in each round
        fifo.write(frame)
        while done < samples and (ready := fifo.read(min(frame_samples, samples - done))) is not None:
            done += ready.samples
            yield ready
        if done >= samples:
            return
    rest = fifo.read(0, partial=True)
    if rest is not None:
        done += rest.samples
        yield rest
    while done < samples:
        silence = _silence(min(frame_samples, samples - done))
        done += silence.samples
        yield silence


def _rounds(data: bytes, damaged: _Damaged) -> Iterator[av.AudioFrame]:
    """The sound over and over; it ends if there is nothing to hear in it."""
    yield from _decoded(data, damaged)
    heard = True
    while heard:
        heard = False
        for frame in _decoded(data, _Damaged()):
            heard = True
            yield frame


def _fade(frame: av.AudioFrame, since: int, fading: int) -> None:
    """Make a frame fainter, in a straight line.

    since: samples between the beginning of the fade and the frame; negative where the frame comes first.
    """
    for plane in frame.planes:
        levels = array("f", bytes(plane)[: 4 * frame.samples])
        for number in range(max(0, -since), frame.samples):
            levels[number] *= 1 - (since + number) / fading
        plane.update(levels.tobytes().ljust(plane.buffer_size, b"\0"))


class _Damaged:
    """samples: of silence that stands for what could not be decoded, at `_RATE_HZ`."""

    def __init__(self) -> None:
        self.samples = 0


def _decoded(data: bytes, damaged: _Damaged) -> Iterator[av.AudioFrame]:
    """As frames of two planes. A damaged stretch is as long as it was, and silent."""
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
