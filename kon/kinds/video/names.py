"""The names of the made-up pictures, for whoever only names them."""

from __future__ import annotations

from typing import Final

PICTURES: Final = 60
DEMO: Final = "demo"
"""In place of a folder: the made-up pictures."""


def demo_names() -> list[str]:
    return [f"picture-{number:03}.jpg" for number in range(1, PICTURES + 1)]
