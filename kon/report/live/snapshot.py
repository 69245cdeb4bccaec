"""What viewers are shown of a run: plain values, made from a tally and nothing else."""

from __future__ import annotations

import enum
from typing import Final, NamedTuple

import msgspec

from kon.backends.prices import usual_prices
from kon.core.errors import counted
from kon.core.spec import RunSpec
from kon.core.task import State
from kon.engine.records.events import Event
from kon.report.read.lives import WorkerLife
from kon.report.read.recent import Ends, Failure
from kon.report.read.tally import RunTally
from kon.report.summary import cost_of

SCHEMA: Final = 1
"""Version of what is sent to a page; a page that is open while kon is renewed loads itself again."""

MOST_LIVES: Final = 200
"""Shown, those at work first."""

MOST_SLOTS: Final = 64
"""Slots of one life that are shown one by one."""


class ShownState(enum.StrEnum):
    """Where a run stands, as `kon status` calls it, and what only those see who stay."""

    STARTING = "starting"  # its workers are not ready yet
    RUNNING = "running"  # its client is at work
    DETACHED = "detached"  # its workers go on without one
    STOPPED = "stopped"  # to be taken up by `kon run` or `kon collect`
    FINISHED = "finished"
    GONE = "gone"  # its folder was deleted; what is shown is what was read before
    UNREADABLE = "unreadable"  # its records can't be read; `problem` says why


IN_MOTION: Final = frozenset({ShownState.STARTING, ShownState.RUNNING, ShownState.DETACHED})


class RunLine(msgspec.Struct, frozen=True):
    """A run among others. began_s: seconds since the epoch. tasks_per_s: lately; once it is over, in all."""

    id: str
    name: str
    state: ShownState
    tasks: int = 0
    done: int = 0
    failed: int = 0
    others: int = 0
    tasks_per_s: float | None = None
    left_s: float | None = None
    began_s: float | None = None
    problem: str = ""


class Slot(msgspec.Struct, frozen=True):
    """A task that runs, and for how long."""

    task: int
    attempt: int
    for_s: float


class LifeShown(msgspec.Struct, frozen=True):
    """state: `working`, `idle`, `silent`, `ended`, `killed` or `elsewhere`. slots: None if unknown."""

    name: str
    host: str
    state: str
    slots: int | None
    busy: list[Slot]
    tasks: int
    failed: int


class ShownThroughput(msgspec.Struct, frozen=True):
    """Tasks that ended in each of equal parts of the time since the run began; the last is not over yet."""

    bin_s: float
    tasks: list[int]


class Snapshot(msgspec.Struct, frozen=True):
    """One run at one moment. Times in seconds; `reading`: the share of its records that was read so far.

    lives_in_all, lives_at_work, slots, slots_busy: of all lives, those that are not shown too.
    usd: what its requests cost so far; None where they cost nothing. prices: which ones.
    """

    schema: int
    id: str
    name: str
    about: str
    state: ShownState
    problem: str
    notes: list[str]
    reading: float
    tasks: int
    done: int
    failed: int
    dead: int
    lost: int
    cancelled: int
    left: int
    retries: int
    elapsed_s: float | None
    left_s: float | None
    tasks_per_s: float | None
    mean_tasks_per_s: float | None
    throughput: ShownThroughput
    deliveries_again: int
    avoided: int
    second_starts: int
    second_results: int
    requests: int
    usd: float | None
    prices: str
    lives: list[LifeShown]
    lives_in_all: int
    lives_at_work: int
    slots: int
    slots_busy: int
    failures_in_all: int


class FailuresShown(msgspec.Struct, frozen=True):
    """The latest that did not end well, the newest first."""

    id: str
    in_all: int
    shown: list[Failure]


def silent_after_s(spec: RunSpec) -> float:
    """A worker's heart beats, and is recorded, every third of its visibility timeout at least."""
    return spec.visibility_s + 5.0


class Reading(NamedTuple):
    """What came of reading a run's records. share: of them, what was read so far."""

    state: ShownState
    share: float
    unread_lines: int
    problem: str


def snapshot(id: str, spec: RunSpec, tally: RunTally, reading: Reading, now_s: float) -> Snapshot:
    """now_s: seconds since the epoch, by this machine's clock, or by the run's own where that is virtual."""
    states = tally.states()
    left = spec.tasks - tally.accounted
    in_motion = reading.state in IN_MOTION
    elapsed_s = _elapsed_s(tally, in_motion, now_s)
    ends = tally.recent.ends
    lately = ends.per_s(now_s) if ends is not None and in_motion else None
    lives = [life for life in tally.lives.values() if life.slots != 0]
    present = [life for life in lives if in_motion and not life.over and life.slots is not None]
    usd, prices = _usd(spec, tally, elapsed_s)
    return Snapshot(
        schema=SCHEMA,
        id=id,
        name=spec.run,
        about=_about(spec),
        state=reading.state,
        problem=reading.problem,
        notes=_notes(reading.unread_lines),
        reading=round(reading.share, 3),
        tasks=spec.tasks,
        done=states[State.DONE],
        failed=states[State.FAILED],
        dead=states[State.DEAD],
        lost=states[State.LOST],
        cancelled=states[State.CANCELLED],
        left=left,
        retries=tally.added_up[Event.RETRY],
        elapsed_s=elapsed_s,
        left_s=left / lately if lately and left else None,
        tasks_per_s=lately,
        mean_tasks_per_s=(tally.accounted - states[State.CANCELLED]) / elapsed_s if elapsed_s else None,
        throughput=_throughput(ends, now_s if in_motion else None),
        deliveries_again=tally.deliveries.repeats,
        avoided=tally.added_up[Event.SKIP],
        second_starts=tally.starts.repeats,
        second_results=tally.keeps.repeats,
        requests=tally.requests,
        usd=usd,
        prices=prices,
        lives=_shown(lives, spec, in_motion, now_s),
        lives_in_all=len(lives),
        lives_at_work=len(present),
        slots=sum(life.slots or 0 for life in present),
        slots_busy=sum(len(life.busy()) for life in present),
        failures_in_all=tally.not_done,
    )


def _about(spec: RunSpec) -> str:
    shape = f"{counted(spec.workers, 'worker')}"
    if spec.processes > 1:
        shape += f" of {spec.processes} processes"
    if spec.slots > 1:
        shape += f", {spec.slots} slots each"
    return f"{spec.tasks:,} x {spec.kind.name}, {spec.strategy.label} on {spec.backend.name}, {shape}"


def _notes(unread_lines: int) -> list[str]:
    if not unread_lines:
        return []
    return [
        f"{counted(unread_lines, 'line')} of the records can't be read, as a killed process leaves "
        "them; shown without."
    ]


def _elapsed_s(tally: RunTally, in_motion: bool, now_s: float) -> float | None:
    if tally.began_s is None:
        return None
    until_s = tally.closed_s or (now_s if in_motion else tally.latest_s)
    return max(0.0, until_s - tally.began_s)


def _throughput(ends: Ends | None, now_s: float | None) -> ShownThroughput:
    """Up to `now_s`: where nothing ends any more, the line must go to zero and not stand still."""
    if ends is None:
        return ShownThroughput(1.0, [])
    bins = list(ends.bins)
    if now_s is not None:
        bins += [0] * (int((now_s - ends.began_s) / ends.bin_s) + 1 - len(bins))
    return ShownThroughput(ends.bin_s, bins)


def _usd(spec: RunSpec, tally: RunTally, elapsed_s: float | None) -> tuple[float | None, str]:
    billed = tally.billed
    if billed is None:
        return None, ""
    prices = usual_prices()
    return cost_of(spec, billed, elapsed_s, prices).dollars_in_all, prices.label


_ORDER: Final = {"working": 0, "silent": 1, "idle": 2, "killed": 3, "elsewhere": 4, "ended": 5}


def _shown(lives: list[WorkerLife], spec: RunSpec, in_motion: bool, now_s: float) -> list[LifeShown]:
    shown = [_life(life, spec, in_motion, now_s) for life in lives]
    shown.sort(key=lambda life: (_ORDER[life.state], _natural(life.name)))
    return sorted(shown[:MOST_LIVES], key=lambda life: _natural(life.name))


def _life(life: WorkerLife, spec: RunSpec, in_motion: bool, now_s: float) -> LifeShown:
    busy = life.busy() if in_motion else []
    if life.slots is None:
        state = "elsewhere"
    elif life.replaced or not (life.ended or in_motion):
        state = "killed"
    elif life.ended:
        state = "ended"
    elif now_s - life.last_s > silent_after_s(spec):
        state = "silent"
    else:
        state = "working" if busy else "idle"
    slots = [Slot(each.task, each.attempt, max(0.0, now_s - each.since_s)) for each in busy[:MOST_SLOTS]]
    return LifeShown(life.name, life.host, state, life.slots, slots, life.answered, life.failed)


def _natural(name: str) -> tuple[int, str]:
    """w2 before w10."""
    digits = "".join(each for each in name.partition(".")[0] if each.isdecimal())
    return int(digits or 0), name
