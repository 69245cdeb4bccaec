"""Runs as they go on: followed through their records, for a page in a browser and for a terminal.

GrowingRun -> RunTally -> Follower (one run) -> Watching (all of them, one reader) -> Board -> viewers.
"""

from __future__ import annotations

from importlib.util import find_spec

from kon.core.distribution import install
from kon.core.errors import ConfigurationError


def check_installed() -> None:
    """Raises ConfigurationError where the page's server can't be had."""
    if find_spec("aiohttp") is None:
        raise ConfigurationError(
            "the live page needs aiohttp, which this Python lacks; nothing was started. Install it: "
            f"{install('live')}"
        )
