"""Reading replies of HTTP/1.1 (RFC 9112), strictly: what is not plainly one reply is none."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

MAX_HEAD_BYTES: Final = 64 << 10
MAX_BODY_BYTES: Final = 64 << 20
"""DynamoDB's largest reply has 16 MB of rows."""

_STATUS: Final = re.compile(r"HTTP/1\.([01]) ([1-5][0-9]{2})(?: [^\r\n]*)?")
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_LENGTH: Final = re.compile(r"[0-9]{1,12}")
_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?")


class BrokenReply(Exception):
    """What came is not an HTTP reply, or not the whole of one."""


class Reply(NamedTuple):
    """headers: by names in small letters. reusable: whether the connection may carry another request."""

    status: int
    headers: dict[str, str]
    body: bytes
    reusable: bool


class ReplyReader:
    """Takes the bytes of one reply as they come. begun: whether any came."""

    __slots__ = ("_at", "_body", "_buffer", "_head", "_length", "begun")

    def __init__(self) -> None:
        self.begun = False
        self._buffer = bytearray()
        self._head: tuple[int, dict[str, str], bool] | None = None
        self._length: int | None = None  # of the body; None for one in chunks, or up to the end
        self._body: bytearray | None = None  # of the chunks so far
        self._at = 0

    def feed(self, data: bytes) -> Reply | None:
        """The reply, once it is whole. Raises BrokenReply."""
        self.begun = True
        self._buffer += data
        while self._head is None:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self._buffer) > MAX_HEAD_BYTES:
                    raise BrokenReply("its head is too long")
                return None
            head = bytes(self._buffer[:end])
            del self._buffer[: end + 4]
            self._begin(head)
        if self._body is not None:
            return self._chunks()
        if self._length is None:
            if len(self._buffer) > MAX_BODY_BYTES:
                raise BrokenReply("its body is too long")
            return None
        if len(self._buffer) < self._length:
            return None
        return self._whole(bytes(self._buffer[: self._length]), len(self._buffer) - self._length)

    def end(self) -> Reply:
        """The connection has ended: the reply whose body goes up to there. Raises BrokenReply for others."""
        if self._head is None or self._length is not None or self._body is not None:
            raise BrokenReply("the connection ended within it")
        return self._whole(bytes(self._buffer), 0, reusable=False)

    def _begin(self, head: bytes) -> None:
        text = head.decode("latin-1")
        status_line, *lines = text.split("\r\n")
        match = _STATUS.fullmatch(status_line)
        if match is None or text.count("\n") != len(lines) or text.count("\r") != len(lines):
            raise BrokenReply(f"it begins with {status_line[:60]!r}")
        status = int(match[2])
        if status < 200:
            if status == 101:
                raise BrokenReply("it changes the protocol")
            return  # an interim reply: the real one follows
        headers: dict[str, str] = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon or _NAME.fullmatch(name) is None:
                raise BrokenReply(f"it has a header {line[:60]!r}")
            name, value = name.lower(), value.strip(" \t")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        options = [option.strip() for option in headers.get("connection", "").lower().split(",")]
        self._frame(status, headers)
        self._head = (status, headers, match[1] == "1" and "close" not in options)

    def _frame(self, status: int, headers: dict[str, str]) -> None:
        """How long the body is, or how its end is known."""
        coding, length = headers.get("transfer-encoding"), headers.get("content-length")
        if coding is not None:
            if coding.lower() != "chunked" or length is not None:
                raise BrokenReply(f"its body is {coding!r} of length {length!r}")
            self._body = bytearray()
        elif length is not None:
            if _LENGTH.fullmatch(length) is None or int(length) > MAX_BODY_BYTES:
                raise BrokenReply(f"its body has a length of {length!r}")
            self._length = int(length)
        if status in (204, 304):  # these have none, whatever they say
            self._length, self._body = 0, None

    def _chunks(self) -> Reply | None:
        buffer, body = self._buffer, self._body
        assert body is not None
        while True:
            end = buffer.find(b"\r\n", self._at)
            if end < 0:
                if len(buffer) - self._at > MAX_HEAD_BYTES:
                    raise BrokenReply("a chunk's size is too long")
                break
            match = _CHUNK.fullmatch(buffer, self._at, end)
            if match is None:
                raise BrokenReply("a chunk has no size")
            size = int(match[1], 16)
            if size == 0:
                return self._trailers(end)
            if len(body) + size > MAX_BODY_BYTES:
                raise BrokenReply("its body is too long")
            begin = end + 2
            if len(buffer) < begin + size + 2:
                break
            if buffer[begin + size : begin + size + 2] != b"\r\n":
                raise BrokenReply("a chunk is longer than it says")
            body += buffer[begin : begin + size]
            self._at = begin + size + 2
        del buffer[: self._at]
        self._at = 0
        return None

    def _trailers(self, end: int) -> Reply | None:
        """After the last chunk: header lines, which nobody needs, and an empty one."""
        last = self._buffer.find(b"\r\n\r\n", end)
        if last < 0:
            if len(self._buffer) - end > MAX_HEAD_BYTES:
                raise BrokenReply("its trailers are too long")
            return None
        assert self._body is not None
        return self._whole(bytes(self._body), len(self._buffer) - last - 4)

    def _whole(self, body: bytes, left: int, reusable: bool = True) -> Reply:
        """left: bytes that came after it, for which nobody asked."""
        assert self._head is not None
        status, headers, keep = self._head
        return Reply(status, headers, body, reusable and keep and left == 0)
