"""Records as they are read: on from where the last look ended, or each task's outcome in order of tasks.

`kon.core.journal.scan` reads a file from its beginning to its end.
"""

from __future__ import annotations

import os
from array import array
from collections import OrderedDict
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Final, NamedTuple

from kon.core.errors import StoreError
from kon.core.journal import decode_lines, leave_out, warn_of_half
from kon.core.task import CLIENT, Outcome, State
from kon.engine.records.events import Event
from kon.engine.records.records import RunFolder
from kon.engine.tally import Tally
from kon.report.read.lines import ANSWERS, EVENTS, STATES, event_files, tasks_of

LEAST_BYTES: Final = 1 << 16
"""Bytes of each file in one look at a run that goes on, however many files there are."""

LOOK_BYTES: Final = 1 << 22
"""Bytes of events in one look for what workers have avoided, about, so that no look takes long."""

_SKIP: Final = f'"e":"{Event.SKIP}"'.encode()

TAIL_BYTES: Final = 1 << 20
"""Bytes of results in one look for news, about."""

KEPT_BYTES: Final = 32 << 20
"""Lines of results that are kept decoded. Tasks end about in order, so that few lines are read twice."""


class Rewritten(Exception):
    """The file is not the one that was read before: it is shorter, or another one has its name."""


class Gone(Rewritten):
    """The file was there, and has been deleted."""


class Growing:
    """The whole lines of a file that another process writes to, each handed out once.

    A line that is half written waits until the rest of it is there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.read_bytes = 0
        """Handed out so far."""
        self.size_bytes = 0
        """Size of the file, as the last look found it."""
        self._inode: int | None = None
        self._looked_bytes = -1
        """Its size when all whole lines that there were had been read."""

    @property
    def behind(self) -> bool:
        """Whether the last look left something to read, other than half a line."""
        return self.read_bytes < self.size_bytes != self._looked_bytes

    def read(self, most_bytes: int) -> bytes:
        """The next whole lines, about `most_bytes` of them, at least one line; empty where there are none.

        Raises Rewritten, Gone, StoreError.
        """
        try:
            about = self.path.stat()
            if self._inode not in (None, about.st_ino) or about.st_size < self.read_bytes:
                raise Rewritten(self.path)
            self._inode, self.size_bytes = about.st_ino, about.st_size
            if about.st_size == self._looked_bytes:
                return b""  # not even opened: most of a large run's files stand still
            lines = self._read(most_bytes)
        except FileNotFoundError:
            if self._inode is not None:
                raise Gone(self.path) from None
            return b""
        except OSError as error:
            raise StoreError(f"{self.path}: can't be read: {error.strerror}") from error
        self.read_bytes += len(lines)
        return lines

    def _read(self, most_bytes: int) -> bytes:
        with self.path.open("rb") as file:
            self.size_bytes = os.fstat(file.fileno()).st_size
            file.seek(self.read_bytes)
            found, end = bytearray(), 0
            while not end:  # one line may be longer than that
                chunk = file.read(most_bytes)
                end = chunk.rfind(b"\n") + 1
                found += chunk[:end] if end else chunk
                if len(chunk) < most_bytes:
                    self._looked_bytes = self.size_bytes
                    break
            return bytes(found) if end else b""


class GrowingRun:
    """The records of one run, read on as they grow. Its methods raise Rewritten, Gone, StoreError."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._files: dict[Path, Growing] = {}

    def events(self, most_bytes: int) -> Iterator[tuple[str, bytes]]:
        """New whole lines of events, about `most_bytes` in all, with the name of their file, the client's
        first."""
        files = {*event_files(self._folder), *self._files} - {self._folder.results}
        most_bytes = max(LEAST_BYTES, most_bytes // (len(files) + 1))
        for file in sorted(files, key=lambda file: (file.stem != CLIENT, file.name)):
            if lines := self._file(file).read(most_bytes):
                yield file.stem, lines

    def results(self, most_bytes: int) -> bytes:
        """New whole lines of results, about `most_bytes`."""
        return self._file(self._folder.results).read(max(LEAST_BYTES, most_bytes))

    def _file(self, path: Path) -> Growing:
        if path not in self._files:
            self._files[path] = Growing(path)
        return self._files[path]

    @property
    def read_bytes(self) -> int:
        """Handed out so far."""
        return sum(file.read_bytes for file in self._files.values())

    @property
    def share(self) -> float:
        """The share of what is there that was read; a line that is being written is not missed."""
        size_bytes = sum(file.size_bytes for file in self._files.values())
        left = sum(file.size_bytes - file.read_bytes for file in self._files.values() if file.behind)
        return 1.0 - left / size_bytes if left else 1.0


class Avoided:
    """How many repeats the workers of a run have avoided so far."""

    def __init__(self, folder: RunFolder) -> None:
        self.tasks = 0
        self._records = GrowingRun(folder)

    def look(self) -> int:
        """Read what has been written since the last look; the count so far."""
        try:
            for _, lines in self._records.events(LOOK_BYTES):
                if _SKIP in lines:
                    skips = b"\n".join(line for line in lines.split(b"\n") if _SKIP in line)
                    self.tasks += sum(len(line.tasks) for line in decode_lines(skips, EVENTS, leave_out))
        except Rewritten:
            pass  # somebody has meddled with the records; what was counted was so
        return self.tasks


class Tail:
    """The outcomes that have been recorded of a run, and those recorded since the last look.

    Where the failed tasks of a run are run again, their earlier outcomes are left out.
    """

    def __init__(self, folder: RunFolder, tasks: int) -> None:
        self.tally = Tally(tasks)
        self._file = Growing(folder.results)
        self._lines = 0
        self._first_attempt = folder.read_run().attempts_before + 1 if folder.exists else 1

    def news(self) -> list[Outcome]:
        """Outcomes recorded since the last call, a part of them where there are many; empty without news.
        An outcome that stood before is there again when a better one took its place.

        Raises StoreError when the file can't be read, or is of another run.
        """
        while lines := self._read():
            answers = decode_lines(lines, ANSWERS, warn_of_half(self._file.path, self._lines + 1))
            self._lines += lines.count(b"\n")
            with tasks_of(self.tally.tasks, self._file.path):
                if news := [each for packet in answers for each in self._news(packet.outcomes)]:
                    return news
        return []

    def _news(self, outcomes: list[Outcome]) -> list[Outcome]:
        first = self._first_attempt
        if first > 1:
            outcomes = [each for each in outcomes if each.attempt >= first or each.state is State.DONE]
        return self.tally.count(outcomes)

    def _read(self) -> bytes:
        try:
            return self._file.read(TAIL_BYTES)
        except Rewritten:
            return b""  # its run has gone, and whoever removed that has no more news


class Standing(NamedTuple):
    """The outcome that stands for a task, and who answered it."""

    worker: str
    outcome: Outcome


def standing(folder: RunFolder, tasks: int) -> Iterator[Standing]:
    """The outcome that stands for each of a run's tasks that has one, in order. Raises StoreError.

    Memory: 8 bytes a task, and the lines that are kept.
    """
    try:
        with folder.results.open("rb") as file, tasks_of(tasks, folder.results):
            places = _places(folder, file, tasks)
            packets = _Packets(file)
            for index, place in enumerate(places):
                if place >= 0:
                    yield packets.find(place, index)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreError(f"{folder.results}: can't be read: {error.strerror}") from error


def _places(folder: RunFolder, file: BufferedReader, tasks: int) -> array[int]:
    """Where the line begins that has the outcome of each task; the last one stands. Raises IndexError."""
    places = array("q", [-1]) * tasks
    place = 0
    for number, line in enumerate(file, start=1):
        for packet in decode_lines(line, STATES, warn_of_half(folder.results, number)):
            for outcome in packet.outcomes:
                places[outcome.index] = place
        place += len(line)
    return places


class _Packets:
    """Packets by where their lines begin; those used last are kept."""

    def __init__(self, file: BufferedReader) -> None:
        self._file = file
        self._kept: OrderedDict[int, tuple[int, str, dict[int, Outcome]]] = OrderedDict()
        self._kept_bytes = 0

    def find(self, place: int, index: int) -> Standing:
        if place not in self._kept:
            self._read(place)
        self._kept.move_to_end(place)
        _, worker, outcomes = self._kept[place]
        return Standing(worker, outcomes[index])

    def _read(self, place: int) -> None:
        self._file.seek(place)
        line = self._file.readline()
        answers = ANSWERS.decode(line)
        self._kept[place] = (len(line), answers.worker, {each.index: each for each in answers.outcomes})
        self._kept_bytes += len(line)
        while self._kept_bytes > KEPT_BYTES and len(self._kept) > 1:
            _, (size_bytes, _, _) = self._kept.popitem(last=False)
            self._kept_bytes -= size_bytes
