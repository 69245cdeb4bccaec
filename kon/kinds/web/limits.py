"""What fetching may cost, and why a link is not followed, or not to its end."""

from __future__ import annotations

import msgspec

from kon.core.errors import KonError


class FetchLimits(msgspec.Struct, frozen=True):
    """What one link may cost.

    connections: at once, for all tasks of a worker. timeout_s: for one link, with all its retries and
    redirects. silence_s: the longest that a server may say nothing before the attempt counts as failed.
    tries: attempts at most. backoff_s: before the second; doubled for each later one, with jitter.
    """

    connections: int = 16
    timeout_s: float = 20.0
    silence_s: float = 10.0
    max_bytes: int = 20_000_000
    max_redirects: int = 5
    tries: int = 4
    backoff_s: float = 0.2


class BadLink(KonError):
    """What a link leads to can't be had, or may not be. The message says why, without the link."""


class BadStatus(BadLink):
    """The server answers, with a status that asking again would not change."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class BadImage(BadLink):
    """What a link leads to is no image that can be used. The message says why, without the link; the job
    goes on without it."""
