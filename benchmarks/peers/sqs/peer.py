"""A peer: how its worker is started, and how its client submits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence


class Peer(ABC):
    """The client's side of a task queue on SQS. Its endpoint and credentials are in the environment."""

    @abstractmethod
    def worker(self) -> Sequence[str]:
        """The arguments, after the interpreter, of one worker process."""

    @abstractmethod
    def submit(self, tasks: Sequence[int]) -> None:
        """Queue these, in the way in which the peer's client is fastest; return when all are queued."""

    def prepare(self) -> None:  # noqa: B027 - most need nothing
        """Make what has to be there before the worker starts."""
