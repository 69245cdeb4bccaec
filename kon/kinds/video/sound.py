"""A sound file, made as long as its video: cut off, or with silence after it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Final

import av
from av.audio.fifo import AudioFifo
from av.container import OutputContainer

from kon.core.errors import KindError

_RATE_HZ: Final = 48_000
_FRAME: Final = 1_024
"""Samples that AAC codes at once."""
_BITS_A_SECOND: Final = 128_000


def encode_sound(data: bytes, container: OutputContainer, duration_s: float) -> list[av.Packet[Any]]:
    """Coded packets of a new stream of the container: AAC, stereo. Raises KindError for what is no sound."""
    stream = container.add_stream("aac", rate=_RATE_HZ, layout="stereo")
    stream.codec_context.bit_rate = _BITS_A_SECOND
    samples = round(duration_s * _RATE_HZ)
    packets: list[av.Packet[Any]] = []
    fifo = AudioFifo()
    done = 0
    try:
        for frame in _decoded(data):
            fifo.write(frame)
            while done < samples and (ready := fifo.read(min(_FRAME, samples - done))) is not None:
                packets += stream.encode(_at(ready, done))
                done += ready.samples
            if done >= samples:
                break
    except (av.FFmpegError, ValueError) as error:
        raise KindError(f"the audio can't be decoded: {error}") from error
    rest = fifo.read(0, partial=True)
    for frame in [rest] if rest is not None and done < samples else []:
        packets += stream.encode(_at(frame, done))
        done += frame.samples
    while done < samples:
        silence = av.AudioFrame("fltp", "stereo", min(_FRAME, samples - done))
        silence.sample_rate = _RATE_HZ
        for plane in silence.planes:
            plane.update(bytes(plane.buffer_size))
        packets += stream.encode(_at(silence, done))
        done += silence.samples
    packets += stream.encode(None)
    return packets


def _decoded(data: bytes) -> Iterator[av.AudioFrame]:
    """As AAC takes it."""
    with av.open(io.BytesIO(data), "r") as source:
        if not source.streams.audio:
            raise KindError("the audio has no sound in it")
        resampler = av.AudioResampler("fltp", "stereo", _RATE_HZ)
        for frame in source.decode(source.streams.audio[0]):
            frame.pts = None
            yield from resampler.resample(frame)
        yield from resampler.resample(None)


def _at(frame: av.AudioFrame, sample: int) -> av.AudioFrame:
    frame.pts, frame.time_base = sample, Fraction(1, _RATE_HZ)
    return frame
