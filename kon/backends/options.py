"""What backends check about the options that they are given."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from kon.core.backend import ChannelOptions
from kon.core.errors import ConfigurationError
from kon.core.queue import QueueLimits
from kon.core.suggest import did_you_mean


def refuse_unknown(backend: str, options: Mapping[str, Any], known: Collection[str]) -> None:
    """Raises ConfigurationError for the first option that the backend does not have."""
    for name in options:
        if name not in known:
            has = f"it has: {', '.join(known)}" if known else "it has none"
            raise ConfigurationError(
                f'the backend "{backend}" has no option "{name}"{did_you_mean(name, known)} ({has})'
            )


def check_channel(options: ChannelOptions, limits: QueueLimits) -> None:
    """Raises ConfigurationError for options that no queue with these limits can keep."""
    if not 0 < options.visibility_s <= limits.longest_hold_s:
        raise ConfigurationError(
            f"visibility_s: expected more than 0 and up to {limits.longest_hold_s:g} seconds, "
            f"got {options.visibility_s}"
        )
    if options.max_receives < 1:
        raise ConfigurationError(f"max_receives: expected 1 or more, got {options.max_receives}")


def check_same(run: str, made: ChannelOptions, wanted: ChannelOptions) -> None:
    """Raises ConfigurationError where a run is there already, and was made otherwise."""
    if made != wanted:
        raise ConfigurationError(
            f'the run "{run}" is there already, with visibility_s {made.visibility_s:g} and max_receives '
            f"{made.max_receives}; asked for were {wanted.visibility_s:g} and {wanted.max_receives}. "
            "It is left as it is: keep its options, delete it, or choose another name"
        )
