"""Former place of `kon.core.ledger`, kept for one release for strategies and kinds of your own."""

from kon.core.ledger import (
    Ledger,
    Record,
    missing,
)

__all__ = [
    "Ledger",
    "Record",
    "missing",
]
