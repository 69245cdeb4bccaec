"""What fetching may cost."""

from __future__ import annotations

import msgspec


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
