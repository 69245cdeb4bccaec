"""What the process of a page tells the one that started it."""

from __future__ import annotations

import msgspec


class Said(msgspec.Struct, frozen=True):
    """Its one line on stdout: the link, or why there is none."""

    link: str = ""
    problem: str = ""
