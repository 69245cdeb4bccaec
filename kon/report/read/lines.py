"""A line of events and a packet of outcomes: the one way in which records are decoded and checked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final, Generic, TypeVar

import msgspec

from kon.core.errors import StoreError
from kon.core.task import CLIENT, Answers, State
from kon.engine.records.records import RunFolder

_Index = Annotated[int, msgspec.Meta(ge=0)]


class EventLine(msgspec.Struct, frozen=True, gc=False):
    """A line of events; docs/records.md says what its keys mean."""

    e: str
    t: float = 0.0
    w: str | None = None
    i: list[_Index] | None = None
    r: tuple[_Index, _Index] | None = None
    a: int = 1
    n: int = 1
    token: str | None = None
    error: str | None = None
    stale: int = 0
    host: str | None = None
    slots: int | None = None
    cpu_s: float | None = None
    task_cpu_s: float = 0.0
    peak_bytes: int | None = None
    requests: int | None = None
    billed: dict[str, float] | None = None
    first_attempt: int = 1

    @property
    def tasks(self) -> list[int] | range:
        return range(self.r[0], self.r[0] + self.r[1]) if self.r is not None else self.i or []


class Told(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How an attempt ended, and no more of its outcome."""

    index: _Index
    attempt: int
    state: State


class Ended(Told, frozen=True, array_like=True, gc=False):
    """An outcome whose result is left as it was written; `kon.core.task.Outcome` has it decoded."""

    result: msgspec.Raw = msgspec.Raw(b"null")
    error: str | None = None
    started_s: float = 0.0
    ended_s: float = 0.0


_Outcome = TypeVar("_Outcome", bound=Told)


class Packet(msgspec.Struct, Generic[_Outcome], frozen=True, array_like=True):
    """A line of results; `kon.core.task.Answers` has its results decoded."""

    worker: str
    outcomes: list[_Outcome]


EVENTS: Final = msgspec.json.Decoder(EventLine)
STATES: Final = msgspec.json.Decoder(Packet[Told])
"""Decoder of results, where only their states are wanted: a fifth faster."""
PACKETS: Final = msgspec.json.Decoder(Packet[Ended])
ANSWERS: Final = msgspec.json.Decoder(Answers)


def event_files(folder: RunFolder) -> list[Path]:
    """The files of events, the client's first, as the others count from its beginning."""
    return sorted(folder.events.glob("*.jsonl"), key=lambda file: (file.stem != CLIENT, file.name))


def worker_files(folder: RunFolder) -> list[Path]:
    """The files of events without the client's."""
    return [file for file in event_files(folder) if file.stem != CLIENT]


@contextmanager
def tasks_of(tasks: int, file: Path) -> Iterator[None]:
    """Within it, an IndexError means that the file is of another run: it becomes a StoreError."""
    try:
        yield
    except IndexError as error:
        raise StoreError(f"{file}: names a task beyond the {tasks} of its run; it is of another") from error
