"""Why a link is not followed, or not to its end."""

from __future__ import annotations

from kon.core.errors import KonError


class BadLink(KonError):
    """What a link leads to can't be had, or may not be. The message says why, without the link."""


class BadStatus(BadLink):
    """The server answers, with a status that asking again would not change."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status
