"""Why an image is left out of its video."""

from __future__ import annotations

from kon.kinds.web.refusal import BadLink


class BadImage(BadLink):
    """What a link leads to is no image that can be used. The message says why, without the link; the job
    goes on without it."""
