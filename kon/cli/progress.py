"""Progress on stderr: redrawn in place on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kon.cli.output import can_redraw, note, terminal_width
from kon.core.errors import counted
from kon.core.task import State
from kon.engine.records.records import RunFolder
from kon.engine.tally import Tally
from kon.engine.watchers import logs
from kon.launch.campaign import CampaignListener, is_whole
from kon.report.fit import folded
from kon.report.read.reader import Avoided
from kon.report.tables import rounded

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live

LINE_S: Final = 5.0
"""Between two lines off a terminal."""

REDRAW_S: Final = 0.2
"""Between two pictures on a terminal."""


class Speed(NamedTuple):
    """How fast a run is since this process looks at it, and how long it will take at that."""

    began_s: float
    accounted: int
    """Tasks that were accounted for at that time."""

    def tasks_per_s(self, tally: Tally, now_s: float) -> float | None:
        news = tally.tasks - tally.left - self.accounted
        passed_s = now_s - self.began_s
        return news / passed_s if news > 0 and passed_s > 0 else None

    def left_s(self, tally: Tally, now_s: float) -> float | None:
        rate = self.tasks_per_s(tally, now_s)
        return None if rate is None else tally.left / rate


_ALWAYS: Final = (State.FAILED, State.DEAD)
_RARE: Final = (State.LOST, State.CANCELLED)


class Progress(CampaignListener, ABC):
    """Follows the runs of a campaign."""

    every_s: float

    def __init__(self) -> None:
        self._title = ""
        self._speed: Speed | None = None
        self._avoided: Avoided | None = None
        self._due_s = 0.0
        self._recorded = 0

    def begin(self, folder: RunFolder, number: int = 1, of: int = 1) -> None:
        self._tell_recorded()
        prefix = f"[{number}/{of}] " if of > 1 else ""
        self._title, self._speed, self._avoided = f"{prefix}{folder.path.name}", None, Avoided(folder)
        self._due_s = time.monotonic() + self.every_s
        logs.about(run=folder.path.name)

    def update(self, tally: Tally) -> None:
        now_s = time.monotonic()
        if self._speed is None:
            self._speed = Speed(now_s, tally.tasks - tally.left)
        if now_s >= self._due_s:
            self._due_s = now_s + self.every_s
            self.show(self._title, tally, self._speed, now_s)

    def end(self, row: dict[str, Any], fresh: bool) -> None:
        if fresh:
            self.note(folded(ending(row), terminal_width()))
        else:
            self._recorded += 1

    def _tell_recorded(self) -> None:
        if self._recorded:
            are = "is" if self._recorded == 1 else "are"
            self.note(f"{counted(self._recorded, 'run')} {are} recorded already, and not repeated")
            self._recorded = 0

    def note(self, text: str) -> None:
        note(text)

    def leave(self, text: str) -> None:
        """Say something that ends the picture."""
        note(text)

    @abstractmethod
    def show(self, title: str, tally: Tally, speed: Speed, now_s: float) -> None: ...

    def words(self, tally: Tally, speed: Speed, now_s: float) -> list[str]:
        """How far a run is."""
        shown = [State.DONE, *_ALWAYS, *(state for state in _RARE if tally.counts[state])]
        words = [f"{tally.counts[state]:,} {state.value}" for state in shown]
        rate = speed.tasks_per_s(tally, now_s)
        if rate is not None:
            words.append(f"{rounded(rate)} tasks/s")
        avoided = self._avoided.look() if self._avoided is not None else 0
        words.append(f"{avoided:,} duplicates avoided")
        return words

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: object) -> None:
        self._tell_recorded()


class ProgressLines(Progress):
    """A line every few seconds, and one at the end of each run."""

    every_s = LINE_S

    def show(self, title: str, tally: Tally, speed: Speed, now_s: float) -> None:
        left_s = speed.left_s(tally, now_s)
        words = self.words(tally, speed, now_s)
        words.append("" if left_s is None else f"{duration(left_s)} left")
        accounted = f"{tally.tasks - tally.left:,}/{tally.tasks:,}"
        note(f"{title}: {accounted}: {', '.join(filter(None, words))}")


class Silence(Progress):
    """Says nothing."""

    every_s = 3600.0

    def update(self, tally: Tally) -> None:
        return

    def note(self, text: str) -> None:
        return

    def show(self, title: str, tally: Tally, speed: Speed, now_s: float) -> None:
        return


class Redrawn:
    """Two lines at the bottom of the terminal, and whatever is printed above them."""

    def __init__(self, console: Console | None = None) -> None:
        from rich.console import Console  # which takes 50 ms, off a terminal for nothing

        self._console = console or Console(stderr=True, highlight=False)
        self._live: Live | None = None

    def draw(self, title: str, done: int, total: int, left: str, words: str) -> None:
        from rich.console import Group
        from rich.live import Live
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

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


class ProgressPicture(Progress):
    """Redrawn in place, with a bar."""

    every_s = REDRAW_S

    def __init__(self) -> None:
        super().__init__()
        self._drawn = Redrawn()

    def show(self, title: str, tally: Tally, speed: Speed, now_s: float) -> None:
        left_s = speed.left_s(tally, now_s)
        self._drawn.draw(
            title,
            tally.tasks - tally.left,
            tally.tasks,
            "" if left_s is None else f"{duration(left_s)} left",
            "  ".join(self.words(tally, speed, now_s)),
        )

    def end(self, row: dict[str, Any], fresh: bool) -> None:
        self._drawn.clear()
        super().end(row, fresh)

    def note(self, text: str) -> None:
        self._drawn.print_above(text)

    def leave(self, text: str) -> None:
        self._drawn.clear()
        super().leave(text)

    def __exit__(self, *error: object) -> None:
        self._drawn.clear()
        super().__exit__(*error)


def progress(quiet: bool) -> Progress:
    """The one that fits what stderr is."""
    if quiet:
        return Silence()
    if can_redraw():
        return ProgressPicture()
    return ProgressLines()


def ending(row: dict[str, Any]) -> str:
    """One line about a run that has ended."""
    words = [f"{row['done']:,} of {row['tasks']:,} done"]
    words += [f"{row[state]:,} {state}" for state in (*_ALWAYS, *_RARE) if row.get(state)]
    if row["wall_s"]:
        words[-1] += f" in {duration(row['wall_s'])}"
        words.append(f"{rounded(row['tasks_per_s'])} tasks/s")
    if row["efficiency"] is not None:
        words.append(f"efficiency {row['efficiency']:.1%}")
    if row["duplicates_avoided"]:
        words.append(f"{row['duplicates_avoided']:,} duplicates avoided")
    hint = "" if is_whole(row) else f" (kon results {row['run']} --failed)"
    return f"{row['run']}: {', '.join(words)}{hint}"


def duration(seconds: float) -> str:
    """For people: `0.42 s`, `8.3 s`, `2 min 05 s`, `3 h 07 min`."""
    if seconds < 59.5:
        return f"{seconds:.{2 if seconds < 1 else 1 if seconds < 10 else 0}f} s"
    minutes, rest_s = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest_s:02} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes:02} min"
