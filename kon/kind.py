"""Former place of `kon.core.kind`, kept for one release for strategies and kinds of your own."""

from kon.core.kind import (
    Attempt,
    Kind,
)

__all__ = [
    "Attempt",
    "Kind",
]
