"""What differs on a simulated host: its kinds wait as long as they would take, and what it writes is counted.

A kind that only waits is itself. What a worker writes sets off its CPU time, and the end of a doomed one.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final

from kon.backends.sim.latency import P99
from kon.backends.sim.model import Spread
from kon.core.clock import Clock
from kon.core.errors import ConfigurationError
from kon.core.journal import Journal
from kon.core.kind import Attempt, Kind
from kon.core.objects import ObjectStore
from kon.core.task import Outcome, Task
from kon.engine.records.events import Event, Named, Recorder


class Timed(Kind):
    """Takes as long as the kind that it stands for.

    One that does nothing but wait is had to do that; of any other nothing is done, and the result is null.
    tasks: how long a task takes, where the kind does not say that of its own.
    late_s: how much longer a task takes on its host than by itself.
    """

    name: ClassVar[str] = "timed"
    virtual_time: ClassVar[bool] = True

    def __init__(
        self,
        options: Mapping[str, Any],
        kind: Kind | None = None,
        tasks: Spread | None = None,
        late_s: float = 0.0,
        seed: str = "",
    ) -> None:
        self._kind = kind
        self._late_s = late_s
        self._tasks = tasks
        self._gauss = random.Random(f"tasks:{seed}").gauss

    def check(self, body: Any) -> None:
        if self._kind is not None:
            self._kind.check(body)

    def duration_s(self, body: Any) -> float:
        known_s = None if self._kind is None else self._kind.duration_s(body)
        if known_s is not None:
            return known_s
        if self._tasks is None:
            raise ConfigurationError(
                "nothing says how long this task takes: neither its kind nor `tasks` in the model"
            )
        if not self._tasks.median_s:
            return 0.0
        sigma = math.log(self._tasks.p99_s / self._tasks.median_s) / P99
        return self._tasks.median_s * math.exp(self._gauss(0.0, sigma))

    async def open(self, objects: ObjectStore) -> None:
        if self._kind is not None and self._kind.virtual_time:
            await self._kind.open(objects)

    async def execute(self, body: Any, attempt: Attempt) -> Any:
        result = None
        if self._kind is not None and self._kind.virtual_time:
            result = await self._kind.execute(body, attempt)
        else:
            await asyncio.sleep(self.duration_s(body))
        await asyncio.sleep(self._late_s)
        return result

    def execute_now(self, bodies: Sequence[Any]) -> list[Any] | None:
        if self._kind is None or any(self._kind.duration_s(body) != 0 for body in bodies):
            return None
        return [None] * len(bodies)


def in_virtual_time(kind: Kind, tasks: Spread | None, late_s: float, seed: str) -> Kind:
    """What runs in the place of a kind."""
    return kind if kind.virtual_time and not late_s else Timed({}, kind, tasks, late_s, seed)


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
