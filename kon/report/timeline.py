"""Who worked when: the bars of a run's tasks, or of a run of many tasks how busy each worker was."""

from __future__ import annotations

import warnings
from array import array
from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

from kon.core.journal import scan
from kon.core.spec import RunSpec
from kon.engine.records.events import Event
from kon.engine.records.records import RunFolder
from kon.report.read.lines import EVENTS, PACKETS, Ended, EventLine, Packet, worker_files
from kon.report.read.moments import Moments

MOST_BARS: Final = 1_500
"""More tasks than that are not drawn one by one: nobody could tell them apart, and no page holds them."""

BINS: Final = 300
"""Bins of time in which tasks are added up."""

UNFINISHED: Final = "unfinished"
"""The state of an attempt that nothing is known of but its start."""


class Bar(NamedTuple):
    """One attempt at a task, in a slot of a life; times in seconds since the run began.

    state: `done`, `failed`, `retry`, `refused`, or `unfinished` where its worker was killed.
    """

    slot: int
    start_s: float
    end_s: float
    state: str
    task: int


class LifeLine(msgspec.Struct):
    """One life of a worker, from its first line to its last, in seconds since the run began.

    ended: whether it says that it ends. bars: its attempts, None where there are too many to be drawn.
    busy: the share of its slots that had a task, for each of `BINS` equal parts of the run.
    """

    name: str
    host: str | None = None
    up_s: float = 0.0
    last_s: float = 0.0
    ended: bool = False
    bars: list[Bar] | None = None
    busy: list[float] | None = None


class Timeline(msgspec.Struct):
    """span_s: from the first submission to the last outcome. slots: of each life.

    over: whether the run has ended, so that a life without an end was killed, and is not at work.
    """

    span_s: float
    slots: int
    over: bool
    lives: list[LifeLine]

    @property
    def has_bars(self) -> bool:
        return all(life.bars is not None for life in self.lives)


class Backlog(NamedTuple):
    """How many tasks waited for a worker, and were held by one, at each of these times in seconds."""

    at_s: list[float]
    waiting: list[int]
    held: list[int]


def timeline(folder: RunFolder, spec: RunSpec, began_s: float, wall_s: float | None) -> Timeline:
    """Raises StoreError."""
    lives, starts = _lives(folder, began_s)
    span_s = wall_s or max((life.last_s for life in lives.values()), default=0.0) or 1e-3
    if starts is not None:
        _add_bars(folder, lives, starts, began_s, spec.slots)
    else:
        _add_busy(folder, lives, began_s, span_s, spec.slots)
    ordered = sorted(lives.values(), key=lambda life: _natural(life.name))
    return Timeline(span_s, spec.slots, folder.finished, ordered)


def backlog(moments: Moments, span_s: float) -> Backlog:
    """Tasks count as waiting from the run's beginning: nobody writes down when each was submitted."""
    delivered = _per_bin(moments.delivered, moments.unit_s, span_s)
    kept = _per_bin(moments.kept, moments.unit_s, span_s)
    at_s, waiting, held = [0.0], [moments.tasks], [0]
    left, inside = moments.tasks, 0
    for number, (came, went) in enumerate(zip(delivered, kept, strict=True), start=1):
        left -= came
        inside += came - went
        at_s.append(span_s * number / BINS)
        waiting.append(left)
        held.append(max(0, inside))
    return Backlog(at_s, waiting, held)


def _per_bin(moments: array[int], unit_s: float, span_s: float) -> list[int]:
    counts = [0] * BINS
    scale, last = BINS * unit_s / span_s, BINS - 1
    none = 1 << 30  # beyond any moment there is
    for at in moments:
        if at < none:
            counts[min(last, int(at * scale))] += 1
    return counts


class _Start(NamedTuple):
    life: str
    t: float
    task: int
    attempt: int


class _Found(NamedTuple):
    """What is known of the ends of attempts, by life, index and attempt."""

    starts: list[_Start]
    ends: dict[tuple[str, int, int], tuple[float, str]]


_ENDS: Final = {Event.KEEP: "done", Event.RETRY: "retry", Event.REFUSE: "refused"}


def _lives(folder: RunFolder, began_s: float) -> tuple[dict[str, LifeLine], _Found | None]:
    """All lives, and their attempts where these are not too many."""
    lives: dict[str, LifeLine] = {}
    found: _Found | None = _Found([], {})
    for file in worker_files(folder):
        for line in scan(file, EVENTS):
            name = line.w or file.stem
            if line.e == Event.USAGE and name not in lives:
                continue  # what the workers of a simulation used in all: no life of its own
            life = lives.get(name)
            if life is None:
                life = lives[name] = LifeLine(name, up_s=line.t - began_s)
            life.last_s, life.ended = line.t - began_s, line.e == Event.DOWN
            life.host = line.host or life.host
            if found is not None:
                _note(found, name, line)
                if len(found.starts) > MOST_BARS or len(found.ends) > 100 * MOST_BARS:
                    found = None
    return lives, found


def _note(found: _Found, life: str, line: EventLine) -> None:
    if line.e == Event.START:
        # tasks that are started together take no time of their own, and are one bar
        found.starts.append(_Start(life, line.t, next(iter(line.tasks), 0), line.a))
    elif line.e in _ENDS:
        for index in line.tasks:
            found.ends.setdefault((life, index, line.a), (line.t, _ENDS[Event(line.e)]))


def _add_bars(
    folder: RunFolder, lives: dict[str, LifeLine], found: _Found, began_s: float, slots: int
) -> None:
    known: dict[tuple[str, int, int], tuple[float, str]] = dict(found.ends)
    for packet in _packets_of(folder):
        for outcome in packet.outcomes:
            key = (packet.worker, outcome.index, outcome.attempt)
            # an outcome says when it ended; its event only when that was written down
            if key in known and known[key][1] == "done":
                known[key] = (outcome.ended_s, outcome.state)
    for life in lives.values():
        life.bars = []
    taken: dict[str, list[Bar]] = {}  # the last of each slot
    for start in sorted(found.starts, key=lambda start: start.t):
        life = lives[start.life]
        end, state = known.get((start.life, start.task, start.attempt), (None, UNFINISHED))
        end_s = life.last_s if end is None else end - began_s
        start_s = start.t - began_s
        in_slots = taken.setdefault(start.life, [])
        slot = _free(in_slots, start_s, slots)
        bar = Bar(slot, start_s, max(start_s, end_s), state, start.task)
        if slot == len(in_slots):
            in_slots.append(bar)
        else:
            before, in_slots[slot] = in_slots[slot], bar
            if before.end_s > start_s and before.state == UNFINISHED:
                _cut(life, before, start_s)
        assert life.bars is not None
        life.bars.append(bar)


def _free(in_slots: list[Bar], start_s: float, slots: int) -> int:
    """The first slot without a task; where all have one, the first whose end nobody knows of."""
    free = next((number for number, bar in enumerate(in_slots) if bar.end_s <= start_s), len(in_slots))
    if free < slots:
        return free
    unknown = [number for number, bar in enumerate(in_slots) if bar.state == UNFINISHED]
    return unknown[0] if unknown else free


def _cut(life: LifeLine, bar: Bar, end_s: float) -> None:
    assert life.bars is not None
    life.bars[life.bars.index(bar)] = bar._replace(end_s=end_s)


def _add_busy(
    folder: RunFolder, lives: dict[str, LifeLine], began_s: float, span_s: float, slots: int
) -> None:
    bin_s = span_s / BINS
    for life in lives.values():
        life.busy = [0.0] * BINS
    for packet in _packets_of(folder):
        life_line = lives.get(packet.worker)
        if life_line is None or life_line.busy is None:
            continue  # answered by the client: nobody worked on it
        # tasks that were run in one go have one start and one end, and took that time together
        for started_s, ended_s in {(each.started_s, each.ended_s) for each in packet.outcomes}:
            _spread(life_line.busy, (started_s - began_s) / bin_s, (ended_s - began_s) / bin_s)
    for life in lives.values():
        life.busy = [min(1.0, share / slots) for share in life.busy or []]


def _spread(busy: list[float], start: float, end: float) -> None:
    """Add a stretch of time, in bins, to each bin that it touches."""
    first, last = max(0, int(start)), min(len(busy) - 1, int(end))
    for at in range(first, last + 1):
        busy[at] += max(0.0, min(end, at + 1) - max(start, at))


def _packets_of(folder: RunFolder) -> Iterator[Packet[Ended]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # who counts the states has said so
        yield from scan(folder.results, PACKETS)


def _natural(name: str) -> list[tuple[int, str]]:
    """w2 before w10."""
    parts: list[tuple[int, str]] = []
    digits = ""
    for character in [*name, ""]:
        if character.isdecimal():
            digits += character
            continue
        if digits:
            parts.append((int(digits), ""))
            digits = ""
        parts.append((-1, character))
    return parts
