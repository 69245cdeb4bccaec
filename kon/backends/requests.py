"""How many requests a backend made to its queues and ledgers."""

from __future__ import annotations


class RequestCount:
    """One for each backend object; everything that the backend opens counts here."""

    __slots__ = ("made",)

    def __init__(self) -> None:
        self.made = 0
