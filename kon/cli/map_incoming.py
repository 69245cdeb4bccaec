"""Items that come slowly, on standard input: what is there is run, and the rest as it comes."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, Final

from kon.api.feed import Feed, SubmittedCall
from kon.api.stored import Stored
from kon.cli.map_sources import refusal
from kon.core.errors import ConfigurationError, WorkloadError

QUIET_S: Final = 0.5
"""Input that says nothing for so long is slow: what has been read is begun with."""

_CHUNK_BYTES: Final = 1 << 16


class Incoming(Sequence[str]):
    """The items of a pipe, as far as they have been read. Lines; `delimiter` is what ends each."""

    def __init__(self, fd: int, delimiter: bytes) -> None:
        """Reads until the input ends, or is quiet. Raises WorkloadError where it can't be read."""
        self._fd = fd
        self._delimiter = delimiter
        self._rest = b""
        self._more: list[str] = []
        self.is_over = False
        """Whether no more items come."""
        self.problem: ConfigurationError | None = None
        """Why the rest was not taken."""
        self.first = Stored("standard input", self._pieces(until_quiet=True), os.fsdecode)
        """Those that came before it was quiet."""

    def __len__(self) -> int:
        return len(self.first) + len(self._more)

    def __getitem__(self, at: Any) -> Any:
        count = len(self.first)
        return self.first[at] if at < count else self._more[at - count]

    def check(self, body: Callable[[str], Any]) -> None:
        """Raises WorkloadError where no command can take one of the items that are there."""
        for number, item in enumerate(self.first, start=1):
            try:
                body(item)
            except ConfigurationError as error:
                raise WorkloadError(refusal(number, error)) from error

    def follow(self, feed: Feed, body: Callable[[str], Any]) -> None:
        """Have the items run, which have been checked, and in a thread those that come later.

        body: of an item's task; it raises ConfigurationError for one that no command can take.
        """
        for item in self.first:
            feed.put(SubmittedCall(Future(), body(item)))
        threading.Thread(target=self._follow, args=(feed, body), name="kon-input", daemon=True).start()

    def _follow(self, feed: Feed, body: Callable[[str], Any]) -> None:
        try:
            for piece in self._pieces(until_quiet=False):
                item = os.fsdecode(piece)
                made = body(item)
                self._more.append(item)
                if not feed.put(SubmittedCall(Future(), made)):
                    self._more.pop()
                    break  # the run was given up
        except OSError as error:
            self.problem = WorkloadError(f"standard input: can't be read: {error.strerror}")
        except ConfigurationError as error:
            self.problem = WorkloadError(refusal(len(self) + 1, error))
        self.is_over = True

    def _pieces(self, *, until_quiet: bool) -> Iterator[bytes]:
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        is_line = self._delimiter == b"\n"
        while True:
            if until_quiet and not poll.poll(QUIET_S * 1_000):
                return
            chunk = os.read(self._fd, _CHUNK_BYTES)
            if not chunk:
                break
            *whole, self._rest = (self._rest + chunk).split(self._delimiter)
            yield from (piece for piece in whole if piece or not is_line)
        self.is_over = True
        if self._rest:
            yield self._rest
