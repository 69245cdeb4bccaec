"""The picture of progress on a terminal."""

from __future__ import annotations

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text


class Redrawn:
    """Two lines at the bottom of the terminal, and whatever is printed above them."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._live: Live | None = None

    def draw(self, title: str, done: int, total: int, left: str, words: str) -> None:
        line = Table.grid(padding=(0, 1), expand=False)
        line.add_row(
            Text(title, overflow="ellipsis", no_wrap=True),
            ProgressBar(total=max(total, 1), completed=done, width=max(10, self._console.width // 3)),
            Text(f"{done / max(total, 1):.0%}"),
            Text(left),
        )
        picture = Group(line, Text(f"  {words}", overflow="ellipsis", no_wrap=True))
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        self._live.update(picture, refresh=True)

    def print_above(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def clear(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
