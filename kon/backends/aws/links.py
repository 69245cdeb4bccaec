"""Links to objects that were signed earlier: what they point to, and until when they are good."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec


class SignedLink(msgspec.Struct, frozen=True):
    """A signed link. expires_at_s: in seconds since the epoch.

    The link of a role's passing credentials ends with these, which may be sooner.
    """

    key: str
    expires_at_s: float


def parse_link(url: str, bucket: str) -> SignedLink | None:
    """What a link says of itself; None for one that is not a signed link to an object of this bucket."""
    parts = urlsplit(url)
    path = unquote(parts.path)
    if (parts.hostname or "").startswith(f"{bucket}."):
        key = path.removeprefix("/")
    elif path.startswith(f"/{bucket}/"):
        key = path.removeprefix(f"/{bucket}/")
    else:
        return None
    expires_at_s = expiry_of(url)
    return None if expires_at_s is None else SignedLink(key, expires_at_s)


def expiry_of(url: str) -> float | None:
    """Until when a signed link is good, in seconds since the epoch; None for any other."""
    query = parse_qs(urlsplit(url).query)
    try:
        signed_at = datetime.strptime(query["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        return signed_at.timestamp() + float(query["X-Amz-Expires"][0])
    except (KeyError, ValueError):
        return None
