"""The story of a task: everything that happened to it, in order, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from kon.core.errors import KonError
from kon.core.plugins import strategy_class
from kon.core.strategy import strategy_options
from kon.core.task import CLIENT, task_id
from kon.engine.records.events import Event
from kon.report.read.traces import Sighting, TaskTrace, encoded
from kon.report.story.reasons import Past, reason

SUBMITTED: Final = "submit"
ENDED: Final = "end"
RECORDED: Final = "record"
VANISHED: Final = "vanish"
"""What happens to a task apart from the events of workers."""


class StoryMoment(msgspec.Struct, frozen=True):
    """One thing that happened.

    t: seconds since the epoch, on the clock of `who`; None where the records have no time of it.
    since_s: the same, since the run began. event: one of `kon.engine.records.events`, or of those above.
    """

    t: float | None
    since_s: float | None
    who: str
    host: str | None
    event: str
    attempt: int
    words: str
    why: str
    token: str | None = None


class Story(msgspec.Struct, frozen=True):
    """id: as kon prints it. ending: what became of the task, in words."""

    id: str
    run: str
    index: int
    strategy: str
    backend: str
    ending: str
    moments: list[StoryMoment]
    outcomes: list[dict[str, Any]]
    notes: list[str]


def tell(found: TaskTrace) -> Story:
    return _Teller(found).story()


_HOLDING: Final = frozenset({Event.DELIVER, Event.CLAIM, Event.START, Event.RENEW, Event.KEEP})
_ORDER: Final = {SUBMITTED: 0, VANISHED: 2}
_WORDS: Final[Mapping[str, str]] = {
    Event.DELIVER: "came in a message",
    Event.CLAIM: "may run",
    Event.SKIP: "turned away: a repeat avoided",
    Event.DEFER: "put off",
    Event.START: "started",
    Event.SPENT: "its processes used",
    Event.KEEP: "its result was committed",
    Event.RETRY: "failed, and is tried again",
    Event.REFUSE: "its result was refused",
    Event.DROP: "not started: the claim ran out before a slot was free",
    Event.GIVE_BACK: "not started: given back, as the worker has to stop or others could start it sooner",
    Event.STOP: "stopped: the worker was told to stop, and queued it again; this attempt does not count",
    Event.ANSWER: "its outcome was sent to the client",
    Event.ACK: "its message was deleted",
    Event.DEAD: "sent to the dead-letter queue: received too often",
    Event.RENEW: "its lease was renewed",
}


class _Teller:
    """Goes through what happened and remembers what the next decision may rest on."""

    def __init__(self, found: TaskTrace) -> None:
        self._found = found
        self._began_s = min(found.opened_s, default=None)
        self._options = {**_defaults(found.spec.strategy.name), **found.spec.strategy.options}
        self._past = Past(self._at, self._options)
        self._tokens: dict[str, str] = {}
        self._delivered = 0
        self._receipts = 0
        self._sent_again: list[str] = []
        """Messages that workers sent in place of others, in words, and that have not come yet."""
        self._answered = 0

    def story(self) -> Story:
        found, spec = self._found, self._found.spec
        timed = [*self._submissions(), *self._ends(), *self._vanished()]
        timed += [self._moment(each) for each in found.sightings]
        timed.sort(key=lambda moment: (moment.t or 0.0, _ORDER.get(moment.event, 1)))
        return Story(
            id=task_id(spec.run, found.index),
            run=spec.run,
            index=found.index,
            strategy=spec.strategy.label,
            backend=spec.backend.name,
            ending=self._ending(),
            moments=[*timed, *self._recorded()],
            outcomes=[{"worker": each.worker, **encoded(each.outcome)} for each in found.answers],
            notes=list(self._notes()),
        )

    # --- what workers wrote --------------------------------------------------------------------------

    def _moment(self, sighting: Sighting) -> StoryMoment:
        life, line = sighting
        words = self._words(sighting)
        before = self._past._replace(now_s=line.t)
        if line.e == Event.CLAIM:
            why = reason(self._found.spec.strategy.name, line.e, before)
            self._past = before._replace(holder=life, claimed_s=line.t, held_s=line.t, retried=False)
        elif line.e == Event.RENEW:
            if before.holder == life:
                self._past = before._replace(held_s=line.t)
            why = reason(self._found.spec.strategy.name, line.e, self._past)
        else:
            why = reason(self._found.spec.strategy.name, line.e, before)
        if line.e == Event.KEEP and before.kept_by is None:
            self._past = before._replace(kept_by=life, kept_s=line.t)
        elif line.e == Event.RETRY:
            self._past = before._replace(retried=True)
        if line.e == Event.DELIVER:
            why = self._why_delivered(line.n)
        return self._made(line.t, life, line.e, line.a, words, why, line.token)

    def _words(self, sighting: Sighting) -> str:
        life, line = sighting
        words = _WORDS.get(line.e, "")
        if line.e == Event.CLAIM and line.token:
            self._tokens[life] = line.token
            return f"{words}, with token {line.token}"
        if line.e in (Event.KEEP, Event.REFUSE) and life in self._tokens:
            return f"{words}, under token {self._tokens[life]}"
        if line.e == Event.DELIVER:
            self._delivered += 1
            return words if self._delivered == 1 else "came again in a message"
        if line.e == Event.RETRY:
            self._sent_again.append(f"the message of the next attempt, sent at {self._at(line.t)}")
            return f"{words}: {line.error}" if line.error else words
        if line.e == Event.DEFER:
            self._sent_again.append(f"the message that {life} sent when it deferred it at {self._at(line.t)}")
        if line.e == Event.ANSWER:
            self._answered += 1
            return words if self._answered == 1 else f"{words}, once more; the client counts the first"
        if line.e == Event.SPENT:
            memory = "" if line.peak_bytes is None else f", {line.peak_bytes / 1e6:,.1f} MB of memory at most"
            return f"{words} {line.task_cpu_s:.6g} s of CPU time{memory}"
        if line.e == Event.ACK and line.stale:
            return f"{words}; of this batch {line.stale} were not this worker's any more"
        return words

    def _why_delivered(self, receipts: int) -> str:
        more, self._receipts = receipts > self._receipts, max(receipts, self._receipts)
        if receipts > 1 and more:
            return (
                f"receipt {receipts} of its message: it was not acked within the visibility timeout of "
                f"{self._found.spec.visibility_s:g} s, or was given back"
            )
        if self._delivered == 1:
            return ""
        if self._sent_again:
            return self._sent_again.pop(0)
        if receipts > 1 and self._found.spec.bundle != 1:
            return "a bundle that comes again is split, and its tasks are sent one by one"
        if self._found.spec.faults.duplicate_rate:
            return "a copy of its message: faults.duplicate_rate sends some twice"
        return "a second message: the client sent it again, or the queue delivered it twice"

    # --- what is no event of a worker -----------------------------------------------------------------

    def _submissions(self) -> Iterator[StoryMoment]:
        for number, opened_s in enumerate(self._found.opened_s):
            words = (
                "the client begins to submit the run's tasks" if not number else "a client takes the run up"
            )
            yield self._made(opened_s, CLIENT, SUBMITTED, 1, words, "")

    def _ends(self) -> Iterator[StoryMoment]:
        """Ends of the attempts whose outcome the client has; of others only the start is known."""
        for worker, outcome in self._found.answers:
            if worker in self._found.lives and outcome.ended_s:
                took_s = outcome.ended_s - outcome.started_s
                words = f"ended after {took_s:.6g} s: {outcome.state.value}"
                if outcome.error:
                    words += f": {outcome.error}"
                yield self._made(outcome.ended_s, worker, ENDED, outcome.attempt, words, "")

    def _vanished(self) -> Iterator[StoryMoment]:
        """Lives that end while they held the task, without a word."""
        last = {each.life: each.line for each in self._found.sightings}
        for name, line in last.items():
            life = self._found.lives[name]
            if not life.ended and line.e in _HOLDING:
                words = "its records end here, without an end: it was killed, or is at work still"
                yield self._made(life.last_s, name, VANISHED, line.a, words, "")

    def _recorded(self) -> Iterator[StoryMoment]:
        for worker, outcome in self._found.answers:
            words = f"{outcome.state.value}, by {worker}"
            if outcome.error:
                words += f": {outcome.error}"
            yield StoryMoment(None, None, CLIENT, None, RECORDED, outcome.attempt, words, "")

    def _ending(self) -> str:
        if not self._found.answers:
            return "no outcome is recorded"
        worker, outcome = self._found.answers[-1]
        return f"{outcome.state.value}, attempt {outcome.attempt}, by {worker}"

    def _notes(self) -> Iterator[str]:
        hosts = {life.host for life in self._found.lives.values()} - {None}
        if len(hosts) > 1:
            yield f"times are those of {len(hosts)} hosts, each by its own clock"
        starts = sum(each.line.e == Event.START for each in self._found.sightings)
        kept = sum(each.line.e == Event.KEEP for each in self._found.sightings)
        came = sum(each.line.e == Event.DELIVER for each in self._found.sightings)
        yield (
            f"delivered {_times(came)}, started {_times(starts)}, a result kept {_times(kept)}, "
            f"answered {_times(self._answered)}"
        )

    # --- time ----------------------------------------------------------------------------------------

    def _made(
        self, t: float, who: str, event: str, attempt: int, words: str, why: str, token: str | None = None
    ) -> StoryMoment:
        life = self._found.lives.get(who)
        since_s = None if self._began_s is None else t - self._began_s
        return StoryMoment(t, since_s, who, life.host if life else None, event, attempt, words, why, token)

    def _at(self, t: float) -> str:
        return since(None if self._began_s is None else t - self._began_s)


def since(seconds: float | None) -> str:
    """A time after the run's beginning, for people."""
    return "" if seconds is None else f"{seconds:+.4f} s"


def as_text(story: Story) -> str:
    lines = [f"{story.id}: {story.ending} ({story.strategy} on {story.backend})", ""]
    several = len({moment.host for moment in story.moments if moment.host}) > 1
    names = [f"{m.who} ({m.host})" if several and m.host else m.who for m in story.moments]
    attempts = max((m.attempt for m in story.moments), default=1) > 1
    width = max(map(len, names), default=0)
    for moment, name in zip(story.moments, names, strict=True):
        head = f"{since(moment.since_s):>14}  {name:<{width}}  {moment.event:<9}"
        if attempts:
            head += f"  attempt {moment.attempt}"
        lines.append(f"{head}  {moment.words}".rstrip())
        if moment.why:
            lines.append(f"{'':>16}{'':<{width}}  why: {moment.why}")
    return "\n".join([*lines, "", *story.notes])


def _times(count: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count} times")


def _defaults(strategy: str) -> dict[str, Any]:
    """What a strategy's options are where the experiment does not say.

    Only of those that are registered by a name: records may come from anywhere, and must not have a module
    imported that they name.
    """
    if ":" in strategy:
        return {}
    try:
        return strategy_options(strategy_class(strategy))
    except KonError:  # a plug-in of the machine that made the records
        return {}
