"""Records: the folder of a run, and how it is read back. Tables and reports are drawn from it alone.

It also keeps messages that a client could not read.
"""

from __future__ import annotations

import base64
import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from kon.core.errors import ConfigurationError, StoreError, StoreVersionError
from kon.core.journal import scan, sync_folder
from kon.core.spec import RunSpec
from kon.core.task import CLIENT, LAST_ATTEMPT, Answers, Outcome, State

SCHEMA: Final = 1
"""Version of the files in a run's folder; raised when an older kon could misread them."""

CLIENT_BEGAN: Final = "client_began_s"
"""In the context of a host's part of the records: when the client, on another machine, began the run."""


class RunFile(msgspec.Struct, frozen=True):
    """run.json: what was to be run, and where.

    context: versions, machine and time of start, for the report.
    attempts_before: attempts that tasks had before their run was asked to run the failed ones again.
    """

    schema: int
    spec: RunSpec
    key: str
    context: dict[str, Any] = {}
    attempts_before: int = 0

    @property
    def worker_spec(self) -> RunSpec:
        """What workers go by: attempts are counted on from those before."""
        attempts = self.spec.attempts + self.attempts_before
        return msgspec.structs.replace(self.spec, attempts=attempts)

    @property
    def begun_s(self) -> float | None:
        """When its client began it, in seconds since the epoch, by the client's clock: what tells it from an
        earlier run of the same name, on hosts too."""
        began_s: float | None = self.context.get(CLIENT_BEGAN, self.context.get("started_s"))
        return began_s


class RunFolder:
    """The files of one run:

    run.json        what was to be run; written before anything is submitted
    results.jsonl   one packet of answers a line, written by the client
    links.tsv       links in results, with when each dies; made of results.jsonl
    unreadable.jsonl  messages that the client could not read, where there were any
    events/         one file for each life of a worker; simulated workers share one, and are named in it
    workers/        what workers wrote to stdout and stderr
    live/, output/  what tasks of this machine write, as it comes, and whole where it is long
    calls/          what is too large for a task of `kon.Executor`
    peek/           questions of readers, while tasks run (see kon.engine.peek)
    printed.jsonl   what `kon map` has printed (see kon.cli.map_output)
    summary.json    the row of the result table; there once every task is accounted for
    to-be-deleted   empty; there while a finished run's queues and tables are not known to be deleted
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run_file = path / "run.json"
        self.results = path / "results.jsonl"
        self.links = path / "links.tsv"
        self.unreadable = path / "unreadable.jsonl"
        self.events = path / "events"
        self.client_events = self.events / f"{CLIENT}.jsonl"
        self.logs = path / "workers"
        self.summary = path / "summary.json"
        self._owed = path / "to-be-deleted"

    @property
    def exists(self) -> bool:
        return self.run_file.exists()

    @property
    def is_blank(self) -> bool:
        """Whether there is nothing but what a process leaves that ends as it writes a run's first file."""
        names = {each.name for each in self.path.iterdir()} if self.path.is_dir() else {""}
        return names <= {_fresh(self.run_file).name}

    @property
    def begun(self) -> bool:
        """Whether a client has begun to submit its tasks."""
        return self.client_events.exists()

    @property
    def finished(self) -> bool:
        return self.summary.exists()

    @property
    def owes_deletion(self) -> bool:
        """Whether its queues and tables were to be deleted, and nobody has seen to the end of it."""
        return self._owed.exists()

    def owe_deletion(self) -> None:
        """Note that they are to be deleted, before that is begun: who takes the run up goes on with it."""
        replace(self._owed, b"")

    def settle_deletion(self) -> None:
        self._owed.unlink(missing_ok=True)

    def write_run(self, spec: RunSpec, context: dict[str, Any], attempts_before: int = 0) -> None:
        run = RunFile(SCHEMA, spec, spec.key(), context, attempts_before)
        replace(self.run_file, msgspec.json.format(msgspec.json.encode(run)) + b"\n")

    def forget_run(self) -> None:
        """Undo `write_run`, where nothing came of the run. What else is in the folder stays."""
        self.run_file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # it holds something
            self.path.rmdir()

    def read_run(self) -> RunFile:
        """Raises StoreError when it can't be read, StoreVersionError when a newer kon wrote it."""
        try:
            body = self.run_file.read_bytes()
            _check_version(self.run_file, body)
            return msgspec.json.decode(body, type=RunFile)
        except OSError as error:
            raise StoreError(f"{self.run_file}: can't be read: {error.strerror}") from error
        except msgspec.DecodeError as error:
            raise StoreError(
                f"{self.run_file}: is not a run of kon's: {error}. It is left as it is, and so are the "
                f"records next to it: bring the file back, or move {self.path} away and run the "
                "same command again"
            ) from error

    def attempts_so_far(self) -> int:
        """From which attempt on a further round goes on: the highest number so far, so that no claim of an
        earlier one is in its way. Raises ConfigurationError when that is at its limit.
        """
        run = self.read_run()
        attempts_before, is_any_unknown = 0, False
        for packet in self.packets():
            for outcome in packet.outcomes:
                attempts_before = max(attempts_before, outcome.attempt)
                is_any_unknown = is_any_unknown or outcome.state in (State.LOST, State.CANCELLED)
        if is_any_unknown:
            # nobody knows how many attempts it had: all that may fail, and one for each worker that may have
            # been told to stop, where there is room
            lives = sum(journal != self.client_events for journal in self.events.glob("*.jsonl"))
            most = min(run.attempts_before + run.spec.attempts + lives, LAST_ATTEMPT - run.spec.attempts)
            attempts_before = max(attempts_before, most)
        if attempts_before + run.spec.attempts > LAST_ATTEMPT:
            raise ConfigurationError(
                f"run {run.spec.run}: its tasks had {attempts_before} attempts, and {LAST_ATTEMPT} in all is "
                "the limit. Start a new run for those that still fail"
            )
        return attempts_before

    def reopen(self, attempts_before: int | None = None) -> None:
        """Make a finished run one whose tasks that are not done are to be run again.

        attempts_before: what `attempts_so_far` said. What is recorded of a later attempt stays as it is.
        Raises ConfigurationError as that does.
        """
        if attempts_before is None:
            attempts_before = self.attempts_so_far()
        run = self.read_run()
        self.write_run(run.spec, run.context, attempts_before)
        self.summary.unlink(missing_ok=True)  # last: the run is over until then, by its old row

    def has_lived(self, worker: str) -> bool:
        """Whether the run has had a worker of this name: then its replacement is not killed again."""
        return any(self.events.glob(f"{worker}.*.jsonl"))

    def write_summary(self, row: dict[str, Any]) -> None:
        replace(self.summary, msgspec.json.format(msgspec.json.encode({"schema": SCHEMA, **row})) + b"\n")

    def read_summary(self) -> dict[str, Any]:
        """Raises StoreError when it can't be read, StoreVersionError when a newer kon wrote it."""
        try:
            body = self.summary.read_bytes()
            _check_version(self.summary, body)
            return msgspec.json.decode(body, type=dict[str, Any])
        except OSError as error:
            raise StoreError(f"{self.summary}: can't be read: {error.strerror}") from error
        except msgspec.DecodeError as error:
            raise StoreError(
                f"{self.summary}: is not a row of kon's: {error}. Delete it, and `kon run` or `kon collect` "
                "writes it again from the other records"
            ) from error

    def packets(self) -> Iterator[Answers]:
        """The recorded packets of answers, in the order in which they came."""
        yield from scan(self.results, _answers)

    def outcomes(self) -> Iterator[tuple[str, Outcome]]:
        """The outcome that stands for each task, and who answered it, in order of tasks."""
        standing: dict[int, tuple[str, Outcome]] = {}
        for packet in self.packets():
            for outcome in packet.outcomes:
                standing[outcome.index] = (packet.worker, outcome)
        for index in sorted(standing):
            yield standing[index]

    def event_lines(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Every event of every worker: the life of a worker that wrote it, and the line."""
        for file in sorted(self.events.glob("*.jsonl")):
            for event in scan(file, _events):
                yield event.get("w", file.stem), event


class _Schema(msgspec.Struct):
    schema: int


def _check_version(path: Path, body: bytes) -> None:
    schema = msgspec.json.decode(body, type=_Schema).schema
    if schema > SCHEMA:
        raise StoreVersionError(
            f"{path}: written by a newer kon (records of version {schema}, this one reads up to {SCHEMA}); "
            "it is left untouched. Use that kon to read it"
        )


_answers: Final = msgspec.json.Decoder(Answers)
_events: Final = msgspec.json.Decoder(dict[str, Any])


def replace(path: Path, body: bytes) -> None:
    """Write a file so that it is there whole or not at all, whatever happens to this machine."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = _fresh(path)
        with fresh.open("wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())  # or a power cut leaves an empty file under the new name
        fresh.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise StoreError(
            f"{path}: can't be written: {error.strerror}. Mend that, then start again; nothing is lost"
        ) from error


def _fresh(path: Path) -> Path:
    """Where a file is written before it takes its place."""
    return path.with_suffix(".new")


class Unreadable(msgspec.Struct, frozen=True):
    """A message as it was.

    queue: where it was. t: when the client took it, in seconds since the epoch, on its clock.
    error: why it can't be read.
    """

    queue: str
    t: float
    body: bytes
    error: str


class _Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """text: the body, or, where it is no text, base64."""

    queue: str
    t: float
    error: str
    text: str | None = None
    base64: str | None = None


def encode_unreadable(message: Unreadable) -> bytes:
    """A line of JSON."""
    text = None
    with contextlib.suppress(UnicodeDecodeError):
        text = message.body.decode()
    coded = base64.b64encode(message.body).decode() if text is None else None
    return msgspec.json.encode(_Line(message.queue, message.t, message.error, text, coded))


def read_unreadable(file: Path) -> Iterator[Unreadable]:
    """The messages in a file, in their order; none where there is no file. Raises StoreError."""
    for line in scan(file, _lines):
        body = base64.b64decode(line.base64 or "") if line.text is None else line.text.encode()
        yield Unreadable(line.queue, line.t, body, line.error)


def write_unreadable(file: Path, messages: Sequence[Unreadable]) -> None:
    """Put these in the place of what the file has; without any, remove it. Raises OSError."""
    if not messages:
        file.unlink(missing_ok=True)
        return
    fresh = file.with_suffix(".new")
    fresh.write_bytes(b"".join(encode_unreadable(each) + b"\n" for each in messages))
    fresh.replace(file)


_lines = msgspec.json.Decoder(_Line)
