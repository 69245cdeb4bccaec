"""Everything that a run's records say of one task, found without expanding what they say of the others."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from kon.core.errors import ConfigurationError, StoreError
from kon.core.spec import RunSpec
from kon.core.task import Answers, Outcome
from kon.engine.records.events import Event
from kon.engine.records.records import RunFolder
from kon.report.read.counts import CLIENT
from kon.report.read.scan import scan


class Line(msgspec.Struct, frozen=True, gc=False):
    """A line of events, with what is told of a task. `n` and `a` are written where they are not 1."""

    e: str
    t: float = 0.0
    w: str | None = None
    i: list[int] | None = None
    r: tuple[int, int] | None = None
    a: int = 1
    n: int = 1
    token: str | None = None
    error: str | None = None
    stale: int = 0
    host: str | None = None

    def times(self, index: int) -> int:
        """How often it happened to a task: twice, where two messages of it came in one batch."""
        if self.r is not None:
            return int(self.r[0] <= index < self.r[0] + self.r[1])
        return 0 if self.i is None else self.i.count(index)


class Life(msgspec.Struct):
    """One life of a worker that met the task: where, until when it wrote, and whether it ended by itself."""

    name: str
    host: str | None = None
    last_s: float = 0.0
    ended: bool = False


class Sighting(NamedTuple):
    """An event of the task, as one life of a worker saw it."""

    life: str
    line: Line


class Answered(NamedTuple):
    """An outcome of the task that the client recorded."""

    worker: str
    outcome: Outcome


class Trace(msgspec.Struct, frozen=True):
    """What was found of a task. opened_s: each time that a client began, in seconds since the epoch."""

    spec: RunSpec
    index: int
    opened_s: list[float]
    sightings: list[Sighting]
    answers: list[Answered]
    lives: dict[str, Life]


def trace(folder: RunFolder, index: int) -> Trace:
    """All about one task, in order of time; what has the same time in the order in which it was written.

    Raises ConfigurationError where the run has no such task, StoreError when records can't be read.
    """
    spec = folder.read_run().spec
    if not 0 <= index < spec.tasks:
        raise ConfigurationError(
            f"run {spec.run} has no task {index}; it has {spec.tasks:,}, numbered from 0 to {spec.tasks - 1}"
        )
    sightings: list[Sighting] = []
    lives: dict[str, Life] = {}
    for file in sorted(folder.events.glob("*.jsonl")):
        if file.stem != CLIENT:
            sightings += _of_file(file, index, lives)
    sightings.sort(key=lambda sighting: sighting.line.t)
    met = {sighting.life for sighting in sightings}
    opened_s = [line.t for line in scan(folder.events / f"{CLIENT}.jsonl", _lines) if line.e == Event.OPEN]
    answers = list(_answers_of(folder.results, index))
    return Trace(
        spec, index, opened_s, sightings, answers, {name: lives[name] for name in lives if name in met}
    )


def _of_file(file: Path, index: int, lives: dict[str, Life]) -> Iterator[Sighting]:
    for line in scan(file, _lines):
        name = line.w or file.stem
        life = lives.get(name)
        if life is None:
            life = lives[name] = Life(name)
        life.last_s = line.t
        life.host = line.host or life.host
        life.ended = line.e == Event.DOWN
        yield from [Sighting(name, line)] * line.times(index)


def _answers_of(path: Path, index: int) -> Iterator[Answered]:
    mark = b"[%d," % index  # how its outcome begins; in a line without it there is none
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if mark not in line:
                    continue
                try:
                    packet = _packets.decode(line)
                except msgspec.DecodeError:
                    warnings.warn(
                        f"{path}:{number}: half a line, left by a killed process; read without it",
                        stacklevel=2,
                    )
                    continue
                yield from (Answered(packet.worker, each) for each in packet.outcomes if each.index == index)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreError(f"{path}: can't be read: {error.strerror}") from error


def encoded(outcome: Outcome) -> Any:
    """For `--json`."""
    return {name: getattr(outcome, name) for name in outcome.__struct_fields__}


_lines: Final = msgspec.json.Decoder(Line)
_packets: Final = msgspec.json.Decoder(Answers)
