"""Hand-made records of runs whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kon.core.journal import FileJournal
from kon.core.spec import Plugin, RunSpec
from kon.core.task import Answers, Outcome, State, Task, encode
from kon.engine.records.events import Event, Named, Recorder
from kon.engine.records.records import RunFolder


class HandClock:
    """A clock that a test sets. Not a `Clock`, which reads a running loop."""

    def __init__(self) -> None:
        self.t = 1_700_000_000.0

    def now_s(self) -> float:
        return self.t


def spec(tasks: int, **changes: Any) -> RunSpec:
    plugins = {"backend": Plugin("memory"), "strategy": Plugin("lease"), "kind": Plugin("sleep")}
    return RunSpec(**{"run": "r", "experiment": "e", "tasks": tasks, **plugins, **changes})


class Records:
    """Writes the records of one run, with the recorder that workers use."""

    def __init__(self, path: Path, tasks: int, **changes: Any) -> None:
        self.folder = RunFolder(path / "r")
        self.folder.write_run(spec(tasks, **changes), {})
        self.clock = HandClock()

    def life(self, name: str) -> Life:
        return Life(self.folder.events / f"{name}.jsonl", self.clock)

    def ran(self, opened_s: float, closed_s: float, **usage: Any) -> None:
        """The client's own events, at seconds after the clock's start."""
        client, start_s = self.life("client"), self.clock.t
        self.clock.t = start_s + opened_s
        client.note(Event.OPEN)
        self.clock.t = start_s + closed_s
        client.note(Event.CLOSE, **usage)
        self.clock.t = start_s

    def answered(self, state: State, indexes: Sequence[int], worker: str = "w1") -> None:
        outcomes = [Outcome(index, 1, state, {"a": [1, "x"]}, None, 1.0, 2.0) for index in indexes]
        self.append_result(encode(Answers(worker, outcomes)))

    def append_result(self, line: bytes) -> None:
        journal = FileJournal(self.folder.results)
        journal.append([line])
        journal.close()


class Life:
    """The events of one life of a worker. Each call stands in the file at once."""

    def __init__(self, path: Path, clock: HandClock) -> None:
        self.path = path
        self._recorder = Recorder(_Reopened(path), clock)  # type: ignore[arg-type]

    def note(self, event: Event, **fields: Any) -> None:
        self._recorder.note(event, **fields)
        self._recorder.flush()

    def tasks(self, event: Event, indexes: Sequence[int], attempt: int = 1, **fields: Any) -> None:
        self._recorder.tasks(event, Named([Task(index, None, attempt) for index in indexes]), **fields)
        self._recorder.flush()

    def ends_mid_line(self) -> None:
        """As a process does that is killed while it writes, or on a machine that loses power."""
        with self.path.open("ab") as file:
            file.write(b'{"t":1700000000.5,"e":"start","i":[1')


class _Reopened(FileJournal):
    """Opens the file anew for each line, so that no test has to close it."""

    def __init__(self, path: Path) -> None:
        self._at = path

    def append(self, lines: Sequence[bytes]) -> None:
        journal = FileJournal(self._at)
        journal.append(lines)
        journal.close()
