"""Former place of `kon.core.strategy`, kept for one release for strategies and kinds of your own."""

from kon.core.strategy import (
    Claim,
    Defer,
    Guarantee,
    Skip,
    Strategy,
    Verdict,
    check_queue,
    is_ours,
    strategy_options,
)

__all__ = [
    "Claim",
    "Defer",
    "Guarantee",
    "Skip",
    "Strategy",
    "Verdict",
    "check_queue",
    "is_ours",
    "strategy_options",
]
