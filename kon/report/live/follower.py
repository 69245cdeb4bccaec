"""One run, followed through its records as they grow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from kon.core.errors import KonError, StoreError
from kon.core.journal import decode_lines
from kon.core.lock import client_lock
from kon.core.task import CLIENT
from kon.engine.records.records import RunFile, RunFolder
from kon.report.live.snapshot import (
    IN_MOTION,
    FailuresShown,
    Reading,
    RunLine,
    ShownState,
    Snapshot,
    silent_after_s,
    snapshot,
)
from kon.report.read.lines import EVENTS, PACKETS, tasks_of
from kon.report.read.reader import Gone, GrowingRun, Rewritten
from kon.report.read.tally import RunTally

LOOK_BYTES: Final = 8 << 20
"""Read in one look, about: a tenth of a second's work. The next one reads on."""


class Follower:
    """Follows one run. Each look reads what is new, and no more; memory is a few bytes for each task.

    now_s: seconds since the epoch. id: what the run is called by viewers.
    """

    def __init__(self, folder: RunFolder, id: str, now_s: Callable[[], float]) -> None:
        self.folder = folder
        self.id = id
        self._now_s = now_s
        self._run: RunFile | None = None
        self._seen: tuple[int, int] | None = None
        self._records = GrowingRun(folder)
        self._tally: RunTally | None = None
        self._unread_lines = 0
        self._state = ShownState.STARTING
        self._problem = ""
        self._refused: StoreError | None = None
        self._snapshot: Snapshot | None = None

    @property
    def read_bytes(self) -> int:
        """Bytes of the records that were read so far."""
        return self._records.read_bytes

    @property
    def behind(self) -> bool:
        """Whether there was more to read than the last look did."""
        return self._tally is not None and not self._problem and self._records.share < 1.0

    def look(self) -> None:
        """Read what has been written since the last look. What goes wrong is shown, not raised."""
        self._snapshot, self._problem = None, ""
        try:
            self._state = self._look() if self._know_the_run() else ShownState.GONE
        except KonError as error:
            self._state, self._problem = ShownState.UNREADABLE, str(error)

    def _look(self) -> ShownState:
        try:
            self._read()
        except Gone:
            return ShownState.GONE
        except Rewritten:  # what was counted can't be told from what is there now
            self._forget()
            self._read()
        return self._where_it_stands()

    def _know_the_run(self) -> bool:
        """Whether the run is there; one that was begun again in the same folder is another one."""
        try:
            about = self.folder.run_file.stat()
        except OSError:
            return False
        if self._seen != (about.st_ino, about.st_mtime_ns):
            self._seen = None  # until it is read
            run = self.folder.read_run()
            if self._run is None or _identity(run) != _identity(self._run):
                self._run = run
                self._forget()
            self._run, self._seen = run, (about.st_ino, about.st_mtime_ns)
        return True

    def _forget(self) -> None:
        assert self._run is not None
        self._records, self._tally = GrowingRun(self.folder), RunTally(self._run.spec.tasks)
        self._unread_lines, self._refused = 0, None

    def _read(self) -> None:
        if self._refused is not None:
            raise self._refused  # what came after it means nothing
        assert self._tally is not None
        tally = self._tally
        try:
            # events before the results that they led to
            for stem, lines in self._records.events(LOOK_BYTES):
                events = decode_lines(lines, EVENTS, self._leave_out)
                with tasks_of(tally.tasks, self.folder.events / f"{stem}.jsonl"):
                    tally.add_client(events) if stem == CLIENT else tally.add_worker(stem, events)
            packets = decode_lines(self._records.results(LOOK_BYTES), PACKETS, self._leave_out)
            with tasks_of(tally.tasks, self.folder.results):
                tally.add_results(packets)
        except StoreError as error:
            self._refused = error
            raise

    def _leave_out(self, _: int) -> None:
        self._unread_lines += 1

    def _where_it_stands(self) -> ShownState:
        assert self._tally is not None
        if self.folder.finished:
            self.folder.read_summary()  # one of a newer kon is a run of a newer kon
            return ShownState.FINISHED
        if client_lock(self.folder.path.parent).is_held():
            return ShownState.STARTING if self._tally.began_s is None else ShownState.RUNNING
        return ShownState.DETACHED if any(self._heard_lately()) else ShownState.STOPPED

    def _heard_lately(self) -> Iterator[bool]:
        assert self._tally is not None
        assert self._run is not None
        since_s = self._now_s() - silent_after_s(self._run.spec)
        for life in self._tally.lives.values():
            yield not life.over and life.last_s > since_s

    def snapshot(self) -> Snapshot | None:
        """As of the last look; None where nothing could be read of the run yet."""
        if self._snapshot is None and self._run is not None and self._tally is not None:
            reading = Reading(self._state, self._records.share, self._unread_lines, self._problem)
            self._snapshot = snapshot(self.id, self._run.spec, self._tally, reading, self._time_s())
        return self._snapshot

    def failures(self) -> FailuresShown:
        if self._tally is None:
            return FailuresShown(self.id, 0, [])
        return FailuresShown(self.id, self._tally.not_done, self._tally.recent.failures.newest_first())

    def line(self) -> RunLine:
        name = self.folder.path.name
        found = self.snapshot()
        if found is None:
            return RunLine(self.id, name, self._state, problem=self._problem)
        return RunLine(
            self.id,
            name,
            found.state,
            tasks=found.tasks,
            done=found.done,
            failed=found.failed,
            others=found.dead + found.lost + found.cancelled,
            tasks_per_s=found.tasks_per_s if found.state in IN_MOTION else found.mean_tasks_per_s,
            left_s=found.left_s,
            began_s=self._tally.began_s if self._tally is not None else None,
            problem=found.problem,
        )

    def _time_s(self) -> float:
        assert self._run is not None
        assert self._tally is not None
        virtual = self._run.context.get("clock") == "virtual"
        return self._tally.latest_s if virtual else self._now_s()


def _identity(run: RunFile) -> tuple[str, object]:
    """What tells one run from another, whatever attempts are added to it."""
    return run.key, run.context.get("started_s")
