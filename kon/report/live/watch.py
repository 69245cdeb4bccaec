"""One run, followed through its records as they grow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from kon.core.errors import KonError, StoreError
from kon.core.lock import client_lock
from kon.engine.records.records import RunFile, RunFolder
from kon.report.live.snapshot import (
    IN_MOTION,
    FailuresShown,
    RunLine,
    Snapshot,
    Standing,
    silent_after_s,
    snapshot,
)
from kon.report.live.tally import Tally
from kon.report.read.counts import CLIENT
from kon.report.read.follow import Gone, Growing, Rewritten

LOOK_BYTES: Final = 8 << 20
"""Read in one look, about: a tenth of a second's work. The next one reads on."""

LEAST_BYTES: Final = 1 << 16
"""Of each file in one look, however many there are."""


class Watch:
    """Follows one run. Each look reads what is new, and no more; memory is a few bytes for each task.

    now_s: seconds since the epoch. id: what the run is called by viewers.
    """

    def __init__(self, folder: RunFolder, id: str, now_s: Callable[[], float]) -> None:
        self.folder = folder
        self.id = id
        self._now_s = now_s
        self._run: RunFile | None = None
        self._seen: tuple[int, int] | None = None
        self._files: dict[str, Growing] = {}
        self._tally: Tally | None = None
        self._standing = Standing.STARTING
        self._problem = ""
        self._refused: StoreError | None = None
        self._snapshot: Snapshot | None = None

    @property
    def read_bytes(self) -> int:
        """Of the records, so far."""
        return sum(file.read_bytes for file in self._files.values())

    @property
    def behind(self) -> bool:
        """Whether there was more to read than the last look did."""
        return self._tally is not None and not self._problem and self._share() < 1.0

    def look(self) -> None:
        """Read what has been written since the last look. What goes wrong is shown, not raised."""
        self._snapshot, self._problem = None, ""
        try:
            self._standing = self._look() if self._know_the_run() else Standing.GONE
        except KonError as error:
            self._standing, self._problem = Standing.UNREADABLE, str(error)

    def _look(self) -> Standing:
        try:
            self._read()
        except Gone:
            return Standing.GONE
        except Rewritten:  # what was counted can't be told from what is there now
            self._forget()
            self._read()
        return self._where_it_stands()

    def _know_the_run(self) -> bool:
        """Whether the run is there; one that was begun anew in the same folder is another one."""
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
        self._files, self._tally, self._refused = {}, Tally(self._run.spec), None

    def _read(self) -> None:
        if self._refused is not None:
            raise self._refused  # what came after it means nothing
        assert self._tally is not None
        stems = {file.stem for file in self.folder.events.glob("*.jsonl")} | {
            name for name in self._files if name != _RESULTS
        }
        # the client's first, as the others count from its beginning; events before the results they led to
        events = sorted(stems, key=lambda stem: (stem != CLIENT, stem))
        most_bytes = max(LEAST_BYTES, LOOK_BYTES // (len(events) + 1))
        for stem in events:
            self._add(stem, self._file(stem).read(most_bytes))
        self._add(_RESULTS, self._file(_RESULTS).read(most_bytes))

    def _add(self, stem: str, lines: bytes) -> None:
        assert self._tally is not None
        try:
            if lines and stem == _RESULTS:
                self._tally.add_results(lines)
            elif lines:
                self._tally.add_events(stem, lines)
        except StoreError as error:
            self._refused = error
            raise

    def _file(self, stem: str) -> Growing:
        file = self._files.get(stem)
        if file is None:
            path = self.folder.results if stem == _RESULTS else self.folder.events / f"{stem}.jsonl"
            file = self._files[stem] = Growing(path)
        return file

    def _where_it_stands(self) -> Standing:
        assert self._tally is not None
        if self.folder.finished:
            self.folder.read_summary()  # one of a newer kon is a run of a newer kon
            return Standing.FINISHED
        if client_lock(self.folder.path.parent).is_held():
            return Standing.STARTING if self._tally.began_s is None else Standing.RUNNING
        return Standing.DETACHED if any(self._heard_lately()) else Standing.STOPPED

    def _heard_lately(self) -> Iterator[bool]:
        assert self._tally is not None
        assert self._run is not None
        since_s = self._now_s() - silent_after_s(self._run.spec)
        for life in self._tally.lives.values():
            yield not life.over and life.last_s > since_s

    def _share(self) -> float:
        """Of the records that has been read; a line that is being written is not missed."""
        size_bytes = sum(file.size_bytes for file in self._files.values())
        left = sum(file.size_bytes - file.read_bytes for file in self._files.values() if file.behind)
        return 1.0 - left / size_bytes if left else 1.0

    def snapshot(self) -> Snapshot | None:
        """As of the last look; None where nothing could be read of the run yet."""
        if self._snapshot is None and self._run is not None and self._tally is not None:
            self._snapshot = snapshot(
                self.id,
                self._run.spec,
                self._tally,
                self._standing,
                self._time_s(),
                reading=self._share(),
                problem=self._problem,
            )
        return self._snapshot

    def failures(self) -> FailuresShown:
        if self._tally is None:
            return FailuresShown(self.id, 0, [])
        return FailuresShown(self.id, self._tally.not_done, self._tally.failures.newest_first())

    def line(self) -> RunLine:
        name = self.folder.path.name
        found = self.snapshot()
        if found is None:
            return RunLine(self.id, name, self._standing, problem=self._problem)
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
    """Of one run, whatever attempts are added to it."""
    return run.key, run.context.get("started_s")


_RESULTS: Final = "/results"
"""No file of events can be called that."""
