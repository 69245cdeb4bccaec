"""Bodies, as SQS takes them."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kon.backends.aws.bodies import as_bytes, as_text, pointed_at, pointer
from kon.core.errors import CodecError
from kon.core.task import Bundle, Task, encode


def is_allowed(sign: str) -> bool:
    """As the reference of SendMessage lists them."""
    code = ord(sign)
    return (
        code in (0x9, 0xA, 0xD)
        or 0x20 <= code <= 0xD7FF
        or 0xE000 <= code <= 0xFFFD
        or 0x10000 <= code <= 0x10FFFF
    )


@given(st.one_of(st.binary(), st.text().map(lambda text: text.encode("utf-8", "surrogatepass"))))
@example(b"")
@example(b"~")
@example(b"^key")
@example("\ufffe".encode())
@example(b"\x0b")
def test_any_body_arrives_in_characters_that_are_allowed(body: bytes) -> None:
    text = as_text(body)
    assert text
    assert all(map(is_allowed, text))
    assert pointed_at(text) is None
    assert as_bytes(text) == body


def test_json_travels_as_it_is() -> None:
    body = encode(Bundle("r", [Task(1, "grüße \n\x00 世界")]))
    assert as_text(body) == body.decode()


def test_a_pointer_is_none_of_these() -> None:
    assert pointed_at(pointer("a/b")) == "a/b"


def test_what_kon_did_not_write_is_refused() -> None:
    for text in ("~not base64!", "~YQ", "~YQ==YQ=="):
        with pytest.raises(CodecError):
            as_bytes(text)
