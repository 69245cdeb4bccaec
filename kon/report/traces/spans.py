"""The story of a task as spans: one for the task, one for each delivery of it, and in these what was done.

Everything comes from the story that `kon explain` tells, moment by moment, with its words and reasons. A
moment that ends something is the end of a span; one that only happens is an event of the delivery's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from kon.core.spec import RunSpec
from kon.core.task import CLIENT
from kon.engine.records.events import Event
from kon.engine.records.records import RunFolder
from kon.report.story.story import ENDED, SUBMITTED, VANISHED, Story, StoryMoment

Attributes = dict[str, Any]
"""Attributes of a span: plain strings and numbers."""


class Happening(msgspec.Struct, frozen=True):
    """An event of a span. t_ns: since the epoch."""

    name: str
    t_ns: int
    attributes: Attributes


class SpanLink(msgspec.Struct, frozen=True):
    """To another span of the same trace, and why: `duplicate of`, or `retry of`."""

    span_id: int
    why: str


class Span(msgspec.Struct):
    """Times are in nanoseconds since the epoch, on the clock of `who`: a life of a worker, or the client.

    kind: as OpenTelemetry has it: `internal`, `producer` or `consumer`. error: None where all is well.
    """

    trace_id: int
    span_id: int
    parent_id: int | None
    name: str
    kind: str
    who: str
    host: str | None
    start_ns: int
    end_ns: int
    attributes: Attributes
    events: list[Happening] = []
    links: list[SpanLink] = []
    error: str | None = None


class RunIdentity(msgspec.Struct, frozen=True):
    """Which run a task is of, and what tells it from one of the same name."""

    spec: RunSpec
    key: str
    began: str

    @classmethod
    def of(cls, folder: RunFolder) -> RunIdentity:
        run = folder.read_run()
        return cls(run.spec, run.key, str(run.context.get("started_s", "")))

    def trace_id(self, index: int) -> int:
        return _trace_id(self.spec.run, self.key, self.began, index)


def spans_of(story: Story, origin: RunIdentity) -> list[Span]:
    """The spans of a task, the task's own first, then in the order in which they began. Empty where nothing
    of it is recorded with a time."""
    moments = [moment for moment in story.moments if moment.t is not None]
    return _Maker(story, origin).spans(moments) if moments else []


_COMMITS: Final = frozenset({Event.KEEP, Event.RETRY, Event.REFUSE})
_WAY: Final[tuple[frozenset[str], ...]] = (
    frozenset({Event.CLAIM, Event.SKIP, Event.DEFER}),
    frozenset({Event.START, Event.DROP, Event.GIVE_BACK}),
    frozenset({ENDED}),
    _COMMITS,
    frozenset({Event.ANSWER}),
    frozenset({Event.ACK}),
)
"""The steps of a delivery: of each it makes one."""

_AFTER: Final[dict[str, frozenset[str]]] = {
    Event.START: frozenset({Event.CLAIM}),
    Event.DROP: frozenset({Event.CLAIM}),
    Event.GIVE_BACK: frozenset({Event.CLAIM}),
    Event.RENEW: frozenset({Event.CLAIM}),
    ENDED: frozenset({Event.START}),
    Event.KEEP: frozenset({Event.START}),
    Event.RETRY: frozenset({Event.START}),
    Event.REFUSE: frozenset({Event.START}),
    Event.ANSWER: frozenset({Event.KEEP, Event.REFUSE, Event.SKIP}),  # a failed attempt is not answered
    Event.ACK: frozenset({*_COMMITS, Event.SKIP, Event.DEFER}),
}
"""What must have happened to a delivery before, one of these at least."""


class _Delivery:
    """One delivery of the task to one life of a worker, and how far that has come."""

    def __init__(self, span: Span, attempt: int) -> None:
        self.span = span
        self.attempt = attempt
        self.last_ns = span.start_ns  # when its latest step ended
        self.steps: set[str] = set()
        self.run: Span | None = None

    def is_due(self, event: str) -> bool:
        """Whether this may be what happens next to it."""
        step = next((step for step in _WAY if event in step), None)
        if step is not None and self.steps & step:
            return False
        return event not in _AFTER or bool(self.steps & _AFTER[event])


_STEPS: Final[dict[str, str]] = {
    Event.CLAIM: "admit",
    Event.SKIP: "admit",
    Event.DEFER: "admit",
    Event.KEEP: "commit",
    Event.RETRY: "commit",
    Event.REFUSE: "commit",
    Event.ANSWER: "answer",
    Event.ACK: "ack",
}
"""The spans that end with an event; each begins where the delivery's last step ended."""

_BAD: Final = frozenset({VANISHED, Event.DEAD})


class _Maker:
    def __init__(self, story: Story, origin: RunIdentity) -> None:
        self._story = story
        self._trace_id = origin.trace_id(story.index)
        self._spec = origin.spec
        self._spans: list[Span] = []
        self._deliveries: dict[str, list[_Delivery]] = {}
        self._alike: dict[tuple[str, str, int], int] = {}
        self._first: dict[tuple[str, int], int] = {}  # the span of each name that an attempt had first

    def spans(self, moments: Iterable[StoryMoment]) -> list[Span]:
        moments = list(moments)
        root = self._root(moments[0])
        for moment in moments:
            self._take(moment, root)
        root.end_ns = max(span.end_ns for span in self._spans)
        return [root, *sorted(self._spans[1:], key=lambda span: span.start_ns)]

    def _root(self, first: StoryMoment) -> Span:
        story, spec = self._story, self._spec
        root = self._span("task", first, None, CLIENT, 1, _ns(first.t))
        root.attributes = {
            "kon.task": story.id,
            "kon.task.index": story.index,
            "kon.strategy": story.strategy,
            "kon.kind": spec.kind.name,
            "kon.ending": story.ending,
        }
        if story.outcomes:
            outcome = story.outcomes[-1]
            root.attributes["kon.state"] = outcome["state"].value
            root.attributes["kon.attempt"] = outcome["attempt"]
            if outcome["state"].value != "done":
                root.error = outcome["error"] or story.ending
        return root

    def _take(self, moment: StoryMoment, root: Span) -> None:
        event = moment.event
        if event == SUBMITTED:
            self._step(event, moment, root, _ns(moment.t)).kind = "producer"
            return
        if event == Event.DELIVER:
            self._deliver(moment, root)
            return
        delivery = self._delivery(moment)
        if delivery is None or (event == ENDED and delivery.run is None):
            # its records begin in the middle; or it ran elsewhere, and this worker answered for that
            root.events.append(_happening(moment))
            return
        t_ns = _ns(moment.t)
        delivery.steps.add(event)
        if event == Event.START:
            delivery.run = self._step("run", moment, delivery.span, t_ns)
            self._link(delivery.run, "run", moment.attempt)
        elif event == ENDED:
            assert delivery.run is not None
            _close(delivery.run, moment)
        elif name := _STEPS.get(event):
            if event in _COMMITS and delivery.run is not None and ENDED not in delivery.steps:
                # when it ended nobody has recorded: at the latest now
                delivery.run.end_ns = delivery.last_ns = t_ns
                if event == Event.RETRY:
                    delivery.run.error = moment.words
            self._step(name, moment, delivery.span, min(delivery.last_ns, t_ns))
        else:
            delivery.span.events.append(_happening(moment))
            if event in _BAD:
                delivery.span.error = moment.words
                if delivery.run is not None and not delivery.steps & {ENDED, *_COMMITS}:
                    delivery.run.end_ns, delivery.run.error = t_ns, moment.words
        if event != Event.RENEW:
            delivery.last_ns = max(delivery.last_ns, t_ns)
        delivery.span.end_ns = max(delivery.span.end_ns, t_ns)

    def _deliver(self, moment: StoryMoment, root: Span) -> None:
        span = self._step("delivery", moment, root, _ns(moment.t))
        span.kind = "consumer"
        self._link(span, "delivery", moment.attempt)
        self._deliveries.setdefault(moment.who, []).append(_Delivery(span, moment.attempt))

    def _delivery(self, moment: StoryMoment) -> _Delivery | None:
        """Which delivery to this worker a moment belongs to: the oldest for which it is due. A worker that
        has the task in two messages does not write from which of them each step comes."""
        own = self._deliveries.get(moment.who, [])
        if moment.event == VANISHED:
            return own[-1] if own else None
        due = [each for each in own if each.is_due(moment.event)]
        same = [each for each in due if each.attempt == moment.attempt]
        return next(iter(same or due or own[-1:]), None)

    def _step(self, name: str, moment: StoryMoment, parent: Span, start_ns: int) -> Span:
        span = self._span(name, moment, parent.span_id, moment.who, moment.attempt, start_ns)
        span.attributes = _attributes(moment)
        return span

    def _span(
        self, name: str, moment: StoryMoment, parent_id: int | None, who: str, attempt: int, start_ns: int
    ) -> Span:
        number = self._alike.get((name, who, attempt), 0)
        self._alike[name, who, attempt] = number + 1
        span = Span(
            trace_id=self._trace_id,
            span_id=_span_id(self._trace_id, name, who, attempt, number),
            parent_id=parent_id,
            name=name,
            kind="internal",
            who=who,
            host=moment.host if who == moment.who else None,
            start_ns=start_ns,
            end_ns=max(start_ns, _ns(moment.t)),
            attributes={},
        )
        self._spans.append(span)
        return span

    def _link(self, span: Span, name: str, attempt: int) -> None:
        """To the first of this attempt, or, where this is it, to the first of the attempt before."""
        first = self._first.setdefault((name, attempt), span.span_id)
        if first != span.span_id:
            span.links.append(SpanLink(first, "duplicate of"))
        elif before := self._first.get((name, attempt - 1)):
            span.links.append(SpanLink(before, "retry of"))


def _close(span: Span, moment: StoryMoment) -> None:
    span.end_ns = max(span.start_ns, _ns(moment.t))
    span.attributes["kon.ended"] = moment.words
    state = moment.words.partition(" s: ")[2].partition(":")[0]
    if state != "done":
        span.error = moment.words


def _happening(moment: StoryMoment) -> Happening:
    return Happening(moment.event, _ns(moment.t), {**_attributes(moment), "kon.worker": moment.who})


def _attributes(moment: StoryMoment) -> Attributes:
    named = {
        "kon.event": str(moment.event),
        "kon.attempt": moment.attempt,
        "kon.words": moment.words,
        "kon.why": moment.why,
        "kon.token": moment.token,
    }
    return {name: value for name, value in named.items() if value not in (None, "")}


def _ns(t: float | None) -> int:
    assert t is not None  # moments without a time are left out
    return round(t * 1e9)


def _trace_id(run: str, key: str, began: str, index: int) -> int:
    """The id of a task's trace: 16 bytes, never 0. began: tells runs of a name apart."""
    return _number(16, run, key, began, str(index))


def _span_id(trace: int, name: str, who: str, attempt: int, number: int) -> int:
    """The id of a span of that trace: 8 bytes, never 0. number: from 0, of those that are alike otherwise."""
    return _number(8, f"{trace:032x}", name, who, str(attempt), str(number))


def _number(size_bytes: int, *words: str) -> int:
    digest = hashlib.blake2b("\0".join(words).encode(errors="surrogatepass"), digest_size=size_bytes)
    return int.from_bytes(digest.digest()) or 1
