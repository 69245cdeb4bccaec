"""How a call's request looks, learnt from one that botocore has made ready to be sent.

So endpoint, region, target and the names of headers are what botocore's own settings and rules make of
them, whatever these are. That this package would have written the same is checked on the spot.
"""

from __future__ import annotations

import re
from calendar import timegm
from time import strptime
from typing import Any, Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

import msgspec

from kon.backends.aws.lean.codec import encode
from kon.backends.aws.lean.signing import Keys, Signer

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
