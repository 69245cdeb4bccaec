"""What simulated workers write, and what their writing sets off: CPU time, and the end of doomed ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from kon.core.clock import Clock
from kon.core.journal import Journal
from kon.core.task import Outcome, Task
from kon.engine.records.events import Event, Named, Recorder

BLOCK_LINES: Final = 5_000
"""Gathered before they are written: no simulated worker needs its lines to outlive a real crash."""


class BlockJournal(Journal):
    """Hands lines on to another journal in large blocks."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._lines: list[bytes] = []

    def append(self, lines: Sequence[bytes]) -> None:
        self._lines.extend(lines)
        if len(self._lines) >= BLOCK_LINES:
            self.flush()

    def flush(self) -> None:
        lines, self._lines = self._lines, []
        self._journal.append(lines)

    def close(self) -> None:
        self.flush()
        self._journal.close()


class NoJournal(Journal):
    """Forgets every line, for simulations that are run for their figures only."""

    def append(self, lines: Sequence[bytes]) -> None:
        return


class SimRecorder(Recorder):
    """The events of one life of a simulated worker.

    on_up: called when the worker is ready. on_start: called with how many tasks are about to run.
    quiet: nothing is written.
    """

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        life: str,
        on_up: Callable[[], None],
        on_start: Callable[[int], None],
        quiet: bool = False,
    ) -> None:
        super().__init__(journal, clock, life)
        self._on_up = on_up
        self._on_start = on_start
        self._quiet = quiet

    def note(self, event: Event, **fields: Any) -> None:
        if not self._quiet:
            super().note(event, **fields)
        if event is Event.UP:
            self._on_up()

    def tasks(self, event: Event, tasks: Sequence[Task | Outcome] | Named, **fields: Any) -> None:
        if not self._quiet:
            super().tasks(event, tasks, **fields)
        if event is Event.START:
            self._on_start(len(tasks.indexes if isinstance(tasks, Named) else tasks))

    def end(self) -> None:
        """Write what there is, and nothing after it: the worker is killed."""
        self.flush()
        self._quiet = True
