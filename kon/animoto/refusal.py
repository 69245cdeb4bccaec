"""Why an image is left out of its video."""

from __future__ import annotations

from kon.errors import KonError


class BadImage(KonError):
    """The image can't be had or used. The message says why, without the link; the job goes on without it."""
