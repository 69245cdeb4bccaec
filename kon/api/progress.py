"""One line that tells how far a run is: on a terminal, in a notebook, or as lines of a log."""

from __future__ import annotations

import os
import shutil
import sys
import time
from typing import Any, Final, TextIO

from kon.api.feed import MOST_TASKS
from kon.core.task import State
from kon.engine.tally import Tally

EVERY_S: Final = 0.2
"""Between two pictures on a terminal or in a notebook."""

LINE_S: Final = 5.0
"""Between two lines elsewhere."""


class ProgressLine:
    """On stderr, or below the cell of a notebook."""

    def __init__(self, *, before: int = 0, redraws: bool | None = None, is_shown: bool = True) -> None:
        """before: tasks that ended in an earlier run, and say nothing of how fast this one is.

        redraws: whether stderr can show one line again and again; None for "where it is a terminal". Where it
            can't, there are lines now and then.
        """
        self.is_shown = is_shown
        self._cell = _Cell() if redraws is None and is_shown and _is_notebook() else None
        self._redraws = self._cell is not None or (can_redraw(sys.stderr) if redraws is None else redraws)
        self._every_s = EVERY_S if self._redraws else LINE_S
        self._is_there = False
        self._began_s = time.monotonic()
        self._due_s = self._began_s if self._redraws else self._began_s + LINE_S
        self._before = before

    def update(self, tally: Tally) -> None:
        """Show it, if the last picture is old enough."""
        now_s = time.monotonic()
        if self.is_shown and now_s >= self._due_s:
            self._due_s = now_s + self._every_s
            self._show(tally, now_s)

    def clear(self) -> None:
        """Make room for what is printed next."""
        if self._is_there:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._is_there = False

    def end(self, tally: Tally) -> None:
        """Show it a last time, and leave it there."""
        if self.is_shown:
            self._show(tally, time.monotonic())
        if self._is_there:
            sys.stderr.write("\n")
            self._is_there = False

    def _show(self, tally: Tally, now_s: float) -> None:
        text = self._text(tally, now_s)
        if self._cell is not None:
            self._cell.show(text)
        elif self._redraws:
            width = shutil.get_terminal_size().columns - 1
            sys.stderr.write(f"\r\x1b[K{text[:width]}")
            sys.stderr.flush()
            self._is_there = True
        else:
            sys.stderr.write(f"kon: {text}\n")

    def _text(self, tally: Tally, now_s: float) -> str:
        ended = tally.tasks - tally.left
        is_open = tally.tasks == MOST_TASKS  # more items may come
        words = [f"{ended:,}" if is_open else f"{ended:,}/{tally.tasks:,}"]
        bad = ended - tally.counts[State.DONE]
        if bad:
            words.append(f"{bad:,} not done")
        news, passed_s = ended - self._before, now_s - self._began_s
        if news and passed_s:
            words.append(f"{news / passed_s:,.1f} tasks/s")
            if not is_open and tally.left:
                words.append(f"{tally.left * passed_s / news:,.0f} s left")
        return ", ".join(words)


class _Cell:
    """A line in the output of a notebook's cell. It needs no widgets, which browsers may lack."""

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, text: str) -> None:
        display = sys.modules["IPython.display"].display  # it is there: a notebook asks
        picture = {"text/plain": text}
        if self._handle is None:
            self._handle = display(picture, raw=True, display_id=True)
        else:
            self._handle.update(picture, raw=True)


def _is_notebook() -> bool:
    """Whether this program is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return hasattr(shell, "kernel")


def can_redraw(stream: TextIO | None) -> bool:
    """Whether a line there may be drawn over. Without TERM nobody knows which terminal it is."""
    return stream is not None and stream.isatty() and (os.environ.get("TERM") or "dumb") != "dumb"
