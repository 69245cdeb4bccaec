"""Requests and replies of HTTP, as the model of Amazon's services takes and gives them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit
from zlib import crc32

import msgspec

HOST: Final = "127.0.0.1"
URL: Final = f"http://{HOST}:1"
"""The endpoint of all services. Nobody listens there."""

_TARGETS: Final = {"AmazonSQS": "sqs", "DynamoDB_20120810": "dynamodb"}

_CHUNKED_EVERY: Final = 3
"""Every third reply has its body in chunks."""


class Request(NamedTuple):
    """One request. operation: of SQS and DynamoDB; S3's are told by `method`, `path` and `query`."""

    service: str
    operation: str
    body: bytes
    method: str = "POST"
    path: str = "/"
    query: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}


class Answer(NamedTuple):
    """A whole reply."""

    status: int
    body: bytes
    headers: Mapping[str, str] = {}


class Refused(Exception):
    """A service's own error. item: more of its reply."""

    def __init__(self, code: str, status: int = 400, text: str = "", **item: Any) -> None:
        super().__init__(code)
        self.code = code
        self.status = status
        self.text = text or code
        self.item = item


def request_of(data: bytes) -> Request:
    """The request that these bytes are, as kon's lean client writes them."""
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    method, path, _ = first.split(" ")
    if int(headers["content-length"]) != len(body):
        raise ValueError(
            f"a request says that its body has {headers['content-length']} bytes; it has {len(body)}"
        )
    return of_parts(method, URL + path, headers, body)


def of_parts(method: str, url: str, headers: Mapping[str, str], body: bytes) -> Request:
    """The request that has these parts. headers: by names in small letters."""
    target = headers.get("x-amz-target")
    if target is None:
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        return Request("s3", "", body, method, unquote(parts.path), query, headers)
    service, _, operation = target.partition(".")
    return Request(_TARGETS[service], operation, body)


def json_answer(value: Mapping[str, Any]) -> Answer:
    body = msgspec.json.encode(value)
    return Answer(200, body, {"content-type": "application/x-amz-json-1.0", "x-amz-crc32": str(crc32(body))})


def refusal(service: str, refused: Refused) -> Answer:
    """A service's error, as it writes it."""
    if service == "s3":
        text = f"<Error><Code>{refused.code}</Code><Message>{refused.text}</Message></Error>"
        return Answer(refused.status, text.encode(), {"content-type": "application/xml"})
    body = msgspec.json.encode(
        {"__type": f"com.amazonaws.{service}#{refused.code}", "message": refused.text, **refused.item}
    )
    return Answer(refused.status, body, {"content-type": "application/x-amz-json-1.0"})


def written(answer: Answer, number: int) -> bytes:
    """The bytes of a reply. number: which of all replies it is."""
    lines = [
        f"HTTP/1.1 {answer.status} Whatever",
        *(f"{name}: {value}" for name, value in answer.headers.items()),
    ]
    if number % _CHUNKED_EVERY or not answer.body:
        lines.append(f"Content-Length: {len(answer.body)}")
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + answer.body
    lines.append("Transfer-Encoding: chunked")
    half = len(answer.body) // 2 or 1
    chunks = [part for part in (answer.body[:half], answer.body[half:]) if part]
    framed = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in chunks)
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + framed + b"0\r\n\r\n"
