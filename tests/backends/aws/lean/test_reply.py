"""HTTP replies, cut anywhere, and what is no reply."""

from __future__ import annotations

import pytest

from kon.backends.aws.lean import reply as reply_module
from kon.backends.aws.lean.reply import BrokenReply, Reply, ReplyReader

PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: 1\r\nx-a:  2 \r\n\r\nhello"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;a=b\r\nlo\r\n0\r\nTrailer: x\r\n\r\n"
)
CHUNKED_PLAINLY = b"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n"
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"


def read(data: bytes, step: int) -> Reply | None:
    """The reply to bytes that come so many at a time; it may be whole at their very end only."""
    reader, found = ReplyReader(), None
    for at in range(0, len(data), step):
        assert found is None
        found = reader.feed(data[at : at + step])
    return found


@pytest.mark.parametrize("data", [PLAIN, CHUNKED, CHUNKED_PLAINLY, INTERIM + PLAIN, INTERIM + CHUNKED])
def test_a_reply_cut_anywhere(data: bytes) -> None:
    for step in range(1, len(data) + 1):
        whole = read(data, step)
        assert whole is not None
        assert (whole.status, whole.body, whole.reusable) == (200, b"hello", True)


def test_headers() -> None:
    whole = read(PLAIN, 1_000)
    assert whole is not None
    assert whole.headers == {"content-length": "5", "x-a": "1, 2"}


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_replies_without_a_body(status: bytes) -> None:
    whole = read(b"HTTP/1.1 " + status + b"\r\nContent-Length: 7\r\n\r\n", 1_000)
    assert whole is not None
    assert whole.body == b""


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nConnection: Keep-Alive, Close\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK",  # for which nobody has asked
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX",
    ],
)
def test_a_connection_that_is_not_used_again(data: bytes) -> None:
    whole = read(data, 1_000)
    assert whole is not None
    assert not whole.reusable


def test_a_body_up_to_the_end_of_the_connection() -> None:
    reader = ReplyReader()
    assert reader.feed(b"HTTP/1.1 200 OK\r\n\r\nhel") is None
    assert reader.feed(b"lo") is None
    assert reader.end() == Reply(200, {}, b"hello", reusable=False)


@pytest.mark.parametrize("data", [PLAIN, CHUNKED, INTERIM + PLAIN])
def test_an_end_within_a_reply(data: bytes) -> None:
    for cut in range(len(data)):
        reader = ReplyReader()
        assert reader.feed(data[:cut]) is None
        with pytest.raises(BrokenReply, match="ended within"):
            reader.end()


HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "data",
    [
        b"garbage\r\n\r\n",
        b"\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        HEAD + b"no-colon\r\n\r\n",
        HEAD + b"Content-Length : 0\r\n\r\n",
        HEAD + b" folded: x\r\n\r\n",
        HEAD + b"a: b\nc: d\r\n\r\n",
        HEAD + b"a: b\rc: d\r\n\r\n",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: 5x\r\n\r\n",
        HEAD + b"Content-Length: 0\r\nContent-Length: 5\r\n\r\n",
        HEAD + b"Content-Length: 99999999999\r\n\r\n",
        HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nx\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nffffffff\r\n",
        HEAD + b"x" * (reply_module.MAX_HEAD_BYTES + 1),
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"x" * (reply_module.MAX_HEAD_BYTES + 1),
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"x" * (reply_module.MAX_HEAD_BYTES + 1),
    ],
)
def test_what_is_no_reply(data: bytes) -> None:
    for step in (len(data), 1_000):
        with pytest.raises(BrokenReply):
            read(data, step)


def test_bodies_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reply_module, "MAX_BODY_BYTES", 4)
    chunks = b"Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n"
    for data in (b"Content-Length: 5\r\n\r\nhello", b"\r\nhello", chunks):
        with pytest.raises(BrokenReply):
            read(HEAD + data, 1_000)


def test_bodies_of_the_limit_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reply_module, "MAX_BODY_BYTES", 4)
    for data in (
        b"Content-Length: 4\r\n\r\nhell",
        b"Transfer-Encoding: chunked\r\n\r\n4\r\nhell\r\n0\r\n\r\n",
    ):
        whole = read(HEAD + data, 1_000)
        assert whole is not None
        assert whole.body == b"hell"
    reader = ReplyReader()
    assert reader.feed(HEAD + b"\r\nhell") is None
    assert reader.end().body == b"hell"


@pytest.mark.parametrize(
    ("before", "at_the_limit"),
    [
        (b"", b"HTTP/1.1"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1;extens"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n", b"2;extens"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0", b"\r\nA: b\r\n"),
    ],
    ids=["head", "chunk", "second chunk", "trailers"],
)
def test_lines_have_a_limit(monkeypatch: pytest.MonkeyPatch, before: bytes, at_the_limit: bytes) -> None:
    monkeypatch.setattr(reply_module, "MAX_HEAD_BYTES", 8)
    reader = ReplyReader()
    assert reader.feed(before + at_the_limit) is None
    with pytest.raises(BrokenReply, match="too long"):
        reader.feed(b"x")
