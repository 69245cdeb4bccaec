"""Amazon's Signature Version 4, for requests that differ in body, time and credentials alone.

All but the body's digest stays the same for a second, and so is made once a second.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Mapping
from hashlib import sha256
from typing import Final, NamedTuple

_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_DATE: Final = "x-amz-date"
_TOKEN: Final = "x-amz-security-token"


class Keys(NamedTuple):
    """Credentials as they are at one time. token: of a session, None for a user's own keys."""

    access_key: str
    secret_key: str
    token: str | None


class Signer:
    """Signs one kind of request.

    path: as it stands in the request, encoded. headers: that are signed besides date and token; their
    names are in small letters, their values have no blanks that the signature's rules would take out.
    """

    def __init__(
        self, method: str, path: str, headers: Mapping[str, str], region: str, service: str, query: str = ""
    ) -> None:
        self._start = f"{method}\n{path}\n{query}\n"
        self._headers = dict(headers)
        self._place = f"{region}/{service}/aws4_request"
        self._steps = (region, service, "aws4_request")
        self._second: tuple[int, Keys] | None = None
        self._canonical = b""
        self._to_sign = b""
        self._lines = b""
        self._key = b""

    def lines(self, keys: Keys, body: bytes, now_s: float) -> bytes:
        """The header lines that a signature adds, with their line ends. now_s: since the epoch."""
        second = (int(now_s), keys)
        if second != self._second:
            self._begin(second)
        digest = sha256(body).hexdigest().encode()
        request = sha256(self._canonical + digest).hexdigest().encode()
        signature = hmac.digest(self._key, self._to_sign + request, "sha256").hex().encode()
        return b"%b%b\r\n" % (self._lines, signature)

    def _begin(self, second: tuple[int, Keys]) -> None:
        now_s, keys = second
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now_s))
        scope = f"{stamp[:8]}/{self._place}"
        added = {_DATE: stamp} if keys.token is None else {_DATE: stamp, _TOKEN: keys.token}
        headers = sorted({**self._headers, **added}.items())
        names = ";".join(name for name, _ in headers)
        listed = "".join(f"{name}:{value}\n" for name, value in headers)
        self._canonical = f"{self._start}{listed}\n{names}\n".encode()
        self._to_sign = f"{_ALGORITHM}\n{stamp}\n{scope}\n".encode()
        key = f"AWS4{keys.secret_key}".encode()
        for step in (stamp[:8], *self._steps):
            key = hmac.digest(key, step.encode(), "sha256")
        self._key = key
        lines = [f"{name}: {value}\r\n" for name, value in added.items()]
        whose = f"Credential={keys.access_key}/{scope}"
        lines.append(f"Authorization: {_ALGORITHM} {whose}, SignedHeaders={names}, Signature=")
        self._lines = "".join(lines).encode()
        self._second = second
