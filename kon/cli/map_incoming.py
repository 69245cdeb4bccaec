"""Items that come slowly, on standard input: what is there is run, and the rest as it comes."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from itertools import chain, islice
from typing import Any, Final

from kon.api.feed import Feed, SubmittedCall
from kon.api.stored import Stored
from kon.cli.map_sources import refusal
from kon.core.errors import ConfigurationError, WorkloadError

QUIET_S: Final = 0.5
"""Input that says nothing for so long is slow: what has been read is begun with."""

LONGEST_S: Final = 2.0
"""Input that takes longer is begun with too: it may never end."""

MOST_WAITING: Final = 100_000
"""Items that are read ahead of the commands, once these run: the rest waits in the pipe."""

_LOOK_S: Final = 0.05
"""Between two looks whether commands have taken of these."""

_CHUNK_BYTES: Final = 1 << 16


class Incoming(Sequence[str]):
    """The items of a pipe, as far as they have been read. Lines; `delimiter` is what ends each."""

    def __init__(self, fd: int, delimiter: bytes) -> None:
        """Reads until the input ends, is quiet, or has taken long. Raises WorkloadError where it can't be."""
        self._fd = fd
        self._delimiter = delimiter
        self._rest = b""
        self._more: list[str] = []
        self.is_over = False
        """Whether no more items come."""
        self.problem: ConfigurationError | None = None
        """Why the rest was not taken."""
        self.first = Stored("standard input", self._pieces(until_quiet=True), os.fsdecode)
        """Those that came by then."""

    def __len__(self) -> int:
        return len(self.first) + len(self._more)

    def __getitem__(self, at: Any) -> Any:
        count = len(self.first)
        return self.first[at] if at < count else self._more[at - count]

    def check(self, body: Callable[[str], Any]) -> None:
        """Raises WorkloadError where no command can take one of the first items that are there."""
        for number, item in enumerate(islice(self.first, MOST_WAITING), start=1):
            try:
                body(item)
            except ConfigurationError as error:
                raise WorkloadError(refusal(number, error)) from error

    def follow(self, feed: Feed, body: Callable[[str], Any]) -> None:
        """Have the items run by a thread, those that are there and those that come later.

        body: of an item's task; it raises ConfigurationError for one that no command can take.
        """
        threading.Thread(target=self._follow, args=(feed, body), name="kon-input", daemon=True).start()

    def _follow(self, feed: Feed, body: Callable[[str], Any]) -> None:
        taken = 0
        try:
            for item in chain(self.first, self._later()):
                if not feed.put(SubmittedCall(Future(), body(item))):
                    break  # the run was given up
                taken += 1
                while feed.waiting >= MOST_WAITING and not feed.is_closed:
                    time.sleep(_LOOK_S)
        except OSError as error:
            self.problem = WorkloadError(f"standard input: can't be read: {error.strerror}")
        except ConfigurationError as error:
            self.problem = WorkloadError(refusal(taken + 1, error))
        del self._more[max(0, taken - len(self.first)) :]
        self.is_over = True

    def _later(self) -> Iterator[str]:
        for piece in self._pieces(until_quiet=False):
            self._more.append(os.fsdecode(piece))
            yield self._more[-1]

    def _pieces(self, *, until_quiet: bool) -> Iterator[bytes]:
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        is_line = self._delimiter == b"\n"
        long_s = time.monotonic() + LONGEST_S
        while True:
            if until_quiet and time.monotonic() > long_s:
                return
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
