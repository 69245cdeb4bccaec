"""What a person may have done from the page. The server decides who may; what is done is given to it."""

from __future__ import annotations

from abc import ABC, abstractmethod

from kon.engine.records.records import RunFolder


class Actions(ABC):
    """Each returns a sentence for the person, and raises KonError where it can't be done."""

    @abstractmethod
    async def cancel(self, folder: RunFolder) -> str:
        """Give up what has not been done."""

    @abstractmethod
    async def retry(self, folder: RunFolder) -> str:
        """Run again what was not done, of a run that is over."""
