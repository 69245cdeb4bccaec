"""What the records say of many tasks, found in one pass through them for so many at a time."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from kon.core.task import Answers
from kon.engine.records.events import Event
from kon.engine.records.records import RunFolder
from kon.report.read.counts import CLIENT
from kon.report.read.scan import scan
from kon.report.read.traces import Answered, Life, Line, Sighting, Trace

AT_ONCE: Final = 20_000
"""Tasks that are gathered in one pass: some hundred megabytes, and few passes for a million."""


def gathered(folder: RunFolder, indexes: Sequence[int]) -> Iterator[Trace]:
    """All about each of these tasks of the run, as `kon.report.read.traces.trace` finds it of one.

    indexes: in order, each once, and each of the run. Raises StoreError when records can't be read.
    """
    for at in range(0, len(indexes), AT_ONCE):
        yield from _gathered(folder, indexes[at : at + AT_ONCE])


def _gathered(folder: RunFolder, indexes: Sequence[int]) -> Iterator[Trace]:
    spec = folder.read_run().spec
    sightings: dict[int, list[Sighting]] = {index: [] for index in indexes}
    answers: dict[int, list[Answered]] = {index: [] for index in indexes}
    lives: dict[str, Life] = {}
    for file in sorted(folder.events.glob("*.jsonl")):
        if file.stem == CLIENT:
            continue
        for line in scan(file, _lines):
            name = line.w or file.stem
            life = lives.setdefault(name, Life(name))
            life.last_s = line.t
            life.host = line.host or life.host
            life.ended = line.e == Event.DOWN
            for index in _about(line, indexes, sightings):
                sightings[index].append(Sighting(name, line))
    for packet in scan(folder.results, _packets):
        for outcome in packet.outcomes:
            if outcome.index in answers:
                answers[outcome.index].append(Answered(packet.worker, outcome))
    opened_s = [line.t for line in scan(folder.events / f"{CLIENT}.jsonl", _lines) if line.e == Event.OPEN]
    for index in indexes:
        seen = sorted(sightings[index], key=lambda sighting: sighting.line.t)
        met = {sighting.life for sighting in seen}
        own = {name: life for name, life in lives.items() if name in met}
        yield Trace(spec, index, opened_s, seen, answers[index], own)


def _about(line: Line, indexes: Sequence[int], wanted: dict[int, list[Sighting]]) -> Sequence[int]:
    """Which of the tasks a line is about."""
    if line.r is not None:
        first, count = line.r
        return indexes[bisect_left(indexes, first) : bisect_left(indexes, first + count)]
    return [index for index in line.i or () if index in wanted]


_lines: Final = msgspec.json.Decoder(Line)
_packets: Final = msgspec.json.Decoder(Answers)
