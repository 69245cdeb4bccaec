"""Everything that a run's records say of some tasks, found without expanding what they say of the others."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from kon.core.errors import ConfigurationError, StoreError
from kon.core.journal import decode_lines, scan, warn_of_half
from kon.core.spec import RunSpec
from kon.core.task import Answers, Outcome
from kon.engine.records.events import Event
from kon.engine.records.records import RunFolder
from kon.report.read.lines import ANSWERS, EVENTS, EventLine, worker_files

AT_ONCE: Final = 20_000
"""Tasks that are gathered in one pass: some hundred megabytes, and few passes for a million."""

_FEW: Final = 8
"""As many tasks are looked for in the text of a line, before it is decoded."""


class LifeSeen(msgspec.Struct):
    """One life of a worker that met the task: where, until when it wrote, and whether it ended by itself."""

    name: str
    host: str | None = None
    last_s: float = 0.0
    ended: bool = False


class Sighting(NamedTuple):
    """An event of the task, as one life of a worker saw it."""

    life: str
    line: EventLine


class Answered(NamedTuple):
    """An outcome of the task that the client recorded."""

    worker: str
    outcome: Outcome


class TaskTrace(msgspec.Struct, frozen=True):
    """What was found of a task. opened_s: each time that a client began, in seconds since the epoch."""

    spec: RunSpec
    index: int
    opened_s: list[float]
    sightings: list[Sighting]
    answers: list[Answered]
    lives: dict[str, LifeSeen]


def trace(folder: RunFolder, index: int) -> TaskTrace:
    """All about one task; see `traces_of`. Raises ConfigurationError where the run has no such task."""
    spec = folder.read_run().spec
    if not 0 <= index < spec.tasks:
        raise ConfigurationError(
            f"run {spec.run} has no task {index}; it has {spec.tasks:,}, numbered from 0 to {spec.tasks - 1}"
        )
    [found] = traces_of(folder, [index])
    return found


def traces_of(folder: RunFolder, indexes: Sequence[int]) -> Iterator[TaskTrace]:
    """All about each of these tasks, in order of time; what has the same time in the order in which it was
    written.

    indexes: in order, each once, and each of the run. Raises StoreError when records can't be read.
    """
    for at in range(0, len(indexes), AT_ONCE):
        yield from _traces(folder, indexes[at : at + AT_ONCE])


def _traces(folder: RunFolder, indexes: Sequence[int]) -> Iterator[TaskTrace]:
    spec = folder.read_run().spec
    sightings: dict[int, list[Sighting]] = {index: [] for index in indexes}
    answers: dict[int, list[Answered]] = {index: [] for index in indexes}
    lives: dict[str, LifeSeen] = {}
    for file in worker_files(folder):
        for line in scan(file, EVENTS):
            name = line.w or file.stem
            life = lives.get(name)
            if life is None:
                life = lives[name] = LifeSeen(name)
            life.last_s = line.t
            life.host = line.host or life.host
            life.ended = line.e == Event.DOWN
            for index in _about(line, indexes, sightings):
                sightings[index].append(Sighting(name, line))
    for packet in _answers_about(folder, indexes):
        for outcome in packet.outcomes:
            if outcome.index in answers:
                answers[outcome.index].append(Answered(packet.worker, outcome))
    opened_s = [line.t for line in scan(folder.client_events, EVENTS) if line.e == Event.OPEN]
    for index in indexes:
        seen = sorted(sightings[index], key=lambda sighting: sighting.line.t)
        met = {sighting.life for sighting in seen}
        own = {name: life for name, life in lives.items() if name in met}
        yield TaskTrace(spec, index, opened_s, seen, answers[index], own)


def _about(line: EventLine, indexes: Sequence[int], wanted: dict[int, list[Sighting]]) -> Sequence[int]:
    """Which of the tasks a line is about; a task twice where two messages of it came in one batch."""
    if line.r is not None:
        first, count = line.r
        return indexes[bisect_left(indexes, first) : bisect_left(indexes, first + count)]
    if line.i is None:
        return ()
    if len(indexes) <= _FEW:
        return [index for index in indexes for _ in range(line.i.count(index))]
    return [index for index in line.i if index in wanted]


def _answers_about(folder: RunFolder, indexes: Sequence[int]) -> Iterator[Answers]:
    """The packets that may have an outcome of these tasks."""
    if len(indexes) > _FEW:
        yield from scan(folder.results, ANSWERS)
        return
    marks = [b"[%d," % index for index in indexes]  # how their outcomes begin
    try:
        with folder.results.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if any(mark in line for mark in marks):
                    yield from decode_lines(line, ANSWERS, warn_of_half(folder.results, number))
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreError(f"{folder.results}: can't be read: {error.strerror}") from error


def encoded(outcome: Outcome) -> Any:
    """For `--json`."""
    return {name: getattr(outcome, name) for name in outcome.__struct_fields__}
