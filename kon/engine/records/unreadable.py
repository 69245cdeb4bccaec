"""Messages that a client could not read, as its run's records keep them."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from kon.core.journal import scan


class Unreadable(msgspec.Struct, frozen=True):
    """A message as it was.

    queue: where it was. t: when the client took it, in seconds since the epoch, on its clock.
    error: why it can't be read.
    """

    queue: str
    t: float
    body: bytes
    error: str


class _Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """text: the body, or, where it is no text, base64."""

    queue: str
    t: float
    error: str
    text: str | None = None
    base64: str | None = None


def encode_unreadable(message: Unreadable) -> bytes:
    """A line of JSON."""
    text = None
    with contextlib.suppress(UnicodeDecodeError):
        text = message.body.decode()
    coded = base64.b64encode(message.body).decode() if text is None else None
    return msgspec.json.encode(_Line(message.queue, message.t, message.error, text, coded))


def read_unreadable(file: Path) -> Iterator[Unreadable]:
    """The messages in a file, in their order; none where there is no file. Raises StoreError."""
    for line in scan(file, _lines):
        body = base64.b64decode(line.base64 or "") if line.text is None else line.text.encode()
        yield Unreadable(line.queue, line.t, body, line.error)


def write_unreadable(file: Path, messages: Sequence[Unreadable]) -> None:
    """Put these in the place of what the file has; without any, remove it. Raises OSError."""
    if not messages:
        file.unlink(missing_ok=True)
        return
    fresh = file.with_suffix(".new")
    fresh.write_bytes(b"".join(encode_unreadable(each) + b"\n" for each in messages))
    fresh.replace(file)


_lines = msgspec.json.Decoder(_Line)
