"""One line of progress on a terminal, below what the tasks print."""

from __future__ import annotations

import shutil
import sys
import time
from typing import Final

from kon.api.feed import MOST_TASKS
from kon.cli.output import can_redraw
from kon.core.task import State
from kon.engine.tally import Tally

EVERY_S: Final = 0.2
"""Between two pictures on a terminal."""

LINE_S: Final = 5.0
"""Between two lines elsewhere."""


class ProgressLine:
    """On stderr, where that is a terminal and nobody asked for silence; elsewhere only where it is asked for,
    as lines now and then."""

    def __init__(self, *, quiet: bool, before: int, always: bool = False) -> None:
        """before: tasks that ended in an earlier run, and say nothing of how fast this one is.

        always: off a terminal too.
        """
        self._redraws = can_redraw()
        self.is_shown = always or (not quiet and self._redraws)
        self._every_s = EVERY_S if self._redraws else LINE_S
        self._is_there = False
        self._began_s = time.monotonic()
        self._due_s = self._began_s if self._redraws else self._began_s + LINE_S
        self._before = before

    def update(self, tally: Tally) -> None:
        now_s = time.monotonic()
        if not self.is_shown or now_s < self._due_s:
            return
        self._due_s = now_s + self._every_s
        ended = tally.tasks - tally.left
        is_open = tally.tasks == MOST_TASKS  # more items may come
        words = [f"{ended:,}" if is_open else f"{ended:,}/{tally.tasks:,}"]
        bad = ended - tally.counts[State.DONE]
        if bad:
            words.append(f"{bad:,} not done")
        news, passed_s = ended - self._before, now_s - self._began_s
        if news and passed_s:
            words.append(f"{news / passed_s:,.1f} tasks/s")
            if not is_open:
                words.append(f"{tally.left * passed_s / news:,.0f} s left")
        if not self._redraws:
            sys.stderr.write(f"kon: {', '.join(words)}\n")
            return
        width = shutil.get_terminal_size().columns - 1
        sys.stderr.write(f"\r\x1b[K{', '.join(words)[:width]}")
        sys.stderr.flush()
        self._is_there = True

    def clear(self) -> None:
        """Make room for what is printed next."""
        if self._is_there:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._is_there = False
