"""Message bodies as SQS takes them: text, of characters that XML allows, and at least one.

kon's own bodies are JSON, and travel as they are, so that a person can read a queue with any tool. Others
travel as base64 behind a mark. What is too large for a message goes into the run's bucket, and a pointer to
it travels.
"""

from __future__ import annotations

import asyncio
import binascii
import re
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Final

from kon.backends.aws.calls import Calls
from kon.backends.aws.failures import CallRefused
from kon.core.errors import CodecError

_BINARY: Final = "~"
_POINTER: Final = "^"
_MARKS: Final = (b"~", b"^")

_FORBIDDEN: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What SQS refuses in a body, as its SendMessage says."""

_PLAIN: Final = bytes([*b"\t\n\r", *range(0x20, 0x80)])
"""Signs of ASCII that it takes. A look for any other takes a fifth of the time that the pattern does."""


def as_text(body: bytes) -> str:
    """The body for SQS."""
    if body and not body.startswith(_MARKS):
        try:
            text = body.decode()
        except UnicodeDecodeError:
            pass
        else:
            if not body.translate(None, _PLAIN) or _FORBIDDEN.search(text) is None:
                return text
    return _BINARY + binascii.b2a_base64(body, newline=False).decode()


def as_bytes(text: str) -> bytes:
    """The body that `as_text` was given. Raises CodecError for text that it can't have made."""
    if text.startswith(_BINARY):
        try:
            return binascii.a2b_base64(text[1:], strict_mode=True)
        except ValueError as error:
            raise CodecError(f"a message that starts with {_BINARY!r} is not base64: {error}") from error
    return text.encode()


def pointer(key: str) -> str:
    """A body that says where the real one is."""
    return _POINTER + key


def pointed_at(text: str) -> str | None:
    """The object's key, for a body that is a pointer."""
    return text[1:] if text.startswith(_POINTER) else None


class Overflow:
    """Large bodies as objects of one bucket.

    prefix: what the keys begin with. new_name: makes a name that no other call has. It is not made from
    the body: of two messages with one body, the ack of the first would delete what the second points at.
    """

    def __init__(self, calls: Calls, bucket: str, prefix: str, new_name: Callable[[], str]) -> None:
        self._calls = calls
        self._bucket = bucket
        self._prefix = prefix
        self._new_name = new_name

    async def put(self, text: str) -> str:
        """Keep the text; its key."""
        key = self._prefix + self._new_name()
        await self._calls.call("s3", "PutObject", Bucket=self._bucket, Key=key, Body=text.encode())
        return key

    async def get(self, key: str) -> str | None:
        """The text; None where it was deleted already."""

        def read(client: object) -> str:
            reply = client.get_object(Bucket=self._bucket, Key=key)  # type: ignore[attr-defined]
            with closing(reply["Body"]) as body:
                content: bytes = body.read()
            return content.decode()

        try:
            return await self._calls.run("s3", read, self._bucket)
        except CallRefused as error:
            if error.code == "NoSuchKey":
                return None
            raise

    async def delete(self, keys: Sequence[str]) -> None:
        """Remove the bodies of messages that are gone."""
        await asyncio.gather(
            *[self._calls.call("s3", "DeleteObject", Bucket=self._bucket, Key=key) for key in keys]
        )
