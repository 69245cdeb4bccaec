"""How a call's request looks, learnt from one that botocore has made ready to be sent.

So endpoint, region, target and the names of headers are what botocore's own settings and rules make of
them, whatever these are. That this package would have written the same is checked on the spot.

Bodies are JSON, as boto3 takes and gives them: dicts, with blobs as bytes.
"""

from __future__ import annotations

import re
from calendar import timegm
from time import strptime
from typing import Any, Final, NamedTuple, TypedDict
from urllib.parse import SplitResult, urlsplit

import msgspec

from kon.backends.aws.lean.signing import Keys, Signer

encode: Final = msgspec.json.Encoder().encode
"""A call's parameters. Bytes, which are blobs of DynamoDB, become base64."""


class Value(TypedDict, total=False):
    """An attribute's value, of the types that kon's rows have."""

    S: str
    N: str
    B: bytes


Row = dict[str, Value]


class _Error(TypedDict, total=False):
    Code: str
    Message: str
    Item: Row


class _Answer(TypedDict, total=False):
    Error: _Error
    Item: Row


class _Statements(TypedDict, total=False):
    Responses: list[_Answer]
    ConsumedCapacity: list[dict[str, Any]]


class _Keys(TypedDict, total=False):
    Keys: list[Row]


class _Rows(TypedDict, total=False):
    Responses: dict[str, list[Row]]
    UnprocessedKeys: dict[str, _Keys]
    ConsumedCapacity: list[dict[str, Any]]


class _Done(TypedDict, total=False):
    Id: str


class _Failed(TypedDict, total=False):
    Id: str
    Code: str
    Message: str
    SenderFault: bool


class _Entries(TypedDict, total=False):
    Successful: list[_Done]
    Failed: list[_Failed]


class _Message(TypedDict, total=False):
    MessageId: str
    ReceiptHandle: str
    Body: str
    Attributes: dict[str, str]


class _Messages(TypedDict, total=False):
    Messages: list[_Message]


DECODERS: Final[dict[tuple[str, str], msgspec.json.Decoder[Any]]] = {
    ("sqs", "SendMessageBatch"): msgspec.json.Decoder(_Entries),
    ("sqs", "DeleteMessageBatch"): msgspec.json.Decoder(_Entries),
    ("sqs", "ChangeMessageVisibilityBatch"): msgspec.json.Decoder(_Entries),
    ("sqs", "ReceiveMessage"): msgspec.json.Decoder(_Messages),
    ("dynamodb", "BatchExecuteStatement"): msgspec.json.Decoder(_Statements),
    ("dynamodb", "BatchGetItem"): msgspec.json.Decoder(_Rows),
}
"""The hot calls, and what their replies are read by: what kon has no use for is left out."""


def decode(service: str, operation: str, body: bytes) -> dict[str, Any]:
    """Raises msgspec.DecodeError for what is not a reply of this operation."""
    reply: dict[str, Any] = DECODERS[service, operation].decode(body) if body else {}
    return reply


_AUTHORIZATION: Final = re.compile(
    r"AWS4-HMAC-SHA256 Credential=[^/]+/[0-9]{8}/([^/]+)/([^/]+)/aws4_request, "
    r"SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})"
)
_PLAIN_PATH: Final = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*/?")
"""That needs no encoding, in the request or in what is signed."""

_ADDED: Final = frozenset({"x-amz-date", "x-amz-security-token", "authorization", "content-length"})
"""Headers that each request has its own of."""

_LEFT_OUT: Final = frozenset({"amz-sdk-invocation-id", "amz-sdk-request", "host"})
"""What the SDK says about itself; and the host, which is there only to be signed."""

_KNOWN: Final = frozenset({"x-amz-target", "content-type", "x-amzn-query-mode", "user-agent"})


class Unusual(Exception):
    """Here calls have to be made by boto3; the message says why."""


class Form(NamedTuple):
    """The request of one operation. start: all of its head that stays the same."""

    url: str
    tls: bool
    host: str
    port: int
    start: bytes
    signer: Signer

    def request(self, keys: Keys, body: bytes, now_s: float) -> bytes:
        return b"%bContent-Length: %d\r\n%b\r\n%b" % (
            self.start,
            len(body),
            self.signer.lines(keys, body, now_s),
            body,
        )


def form_of(shown: Any, parameters: Any, keys: Keys) -> Form:
    """What to learn from botocore's AWSPreparedRequest of a call with these parameters, signed with these
    keys. Raises Unusual."""
    url = urlsplit(shown.url)
    plain = _PLAIN_PATH.fullmatch(url.path) and not url.query and not url.username
    if url.scheme not in ("http", "https") or not url.hostname or not plain:
        raise Unusual(f"the endpoint {url.scheme}://{url.hostname} is not a plain one")
    headers = {name.lower(): _text(value) for name, value in shown.headers.items()}
    if strange := headers.keys() - _ADDED - _LEFT_OUT - _KNOWN:
        raise Unusual(f"botocore sends the header {min(strange)}")
    if shown.method != "POST" or not headers.get("content-type", "").startswith("application/x-amz-json-1."):
        raise Unusual(f"botocore does not speak JSON to {url.hostname}")
    authorization = _AUTHORIZATION.fullmatch(headers.get("authorization", ""))
    if authorization is None:
        raise Unusual("requests are not signed by Signature Version 4")
    region, service, signed, signature = authorization.groups()
    constant = {"host": _host(url), **{name: headers[name] for name in _KNOWN & headers.keys()}}
    names = set(signed.split(";")) - _ADDED
    signer = Signer("POST", url.path or "/", {name: constant[name] for name in names}, region, service)
    lines = "".join(f"{name}: {value}\r\n" for name, value in constant.items())
    form = Form(
        url=f"{url.scheme}://{url.netloc}{url.path}",
        tls=url.scheme == "https",
        host=url.hostname,
        port=url.port or (443 if url.scheme == "https" else 80),
        start=f"POST {url.path or '/'} HTTP/1.1\r\n{lines}".encode(),
        signer=signer,
    )
    at_s = timegm(strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ"))
    if f"Signature={signature}\r\n".encode() not in signer.lines(keys, _bytes(shown.body), at_s):
        raise Unusual("botocore's signature of a request is another")
    if msgspec.json.decode(shown.body) != msgspec.json.decode(encode(parameters)):
        raise Unusual("botocore writes the body of a request in another way")
    return form


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _bytes(body: str | bytes) -> bytes:
    return body.encode() if isinstance(body, str) else body


def _host(url: SplitResult) -> str:
    """As the header has it: without a scheme's own port."""
    host = f"[{url.hostname}]" if ":" in (url.hostname or "") else f"{url.hostname}"
    own = 443 if url.scheme == "https" else 80
    return host if url.port in (None, own) else f"{host}:{url.port}"
