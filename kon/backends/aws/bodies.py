"""Message bodies as SQS takes them: text, of characters that XML allows, and at least one.

kon's own bodies are JSON, and travel as they are, so that a person can read a queue with any tool. Others
travel as base64 behind a mark.
"""

from __future__ import annotations

import binascii
import re
from typing import Final

from kon.core.errors import CodecError

_BINARY: Final = "~"
_POINTER: Final = "^"
_MARKS: Final = (b"~", b"^")

_FORBIDDEN: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What SQS refuses in a body, as its SendMessage says."""


def as_text(body: bytes) -> str:
    """The body for SQS."""
    if body and not body.startswith(_MARKS):
        try:
            text = body.decode()
        except UnicodeDecodeError:
            pass
        else:
            if _FORBIDDEN.search(text) is None:
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
