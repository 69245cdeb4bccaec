"""The watch: what really happened in a simulated run, told by those who saw it, and held to the invariants.

It stands next to the parts that it watches. A kind notes each start and end. A strategy hands every call
on to the real one and notes what came of it. It also knows the truth about every clock.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Final

from kon.backends.sim.loop import current_host
from kon.backends.sim.trace import Trace, What
from kon.core.kind import Attempt, Kind, Spent
from kon.core.objects import ObjectStore
from kon.core.strategy import Claim, Guarantee, Skip, Strategy, Verdict
from kon.core.task import Outcome, State, Task, encode
from kon.trials.prove.scenario import Break, Invariant

_STORED: Final = Path(__file__)
"""Whatever file there is."""

ROOM_S: Final = 2.0
"""How long a task waits for room on its machine, where it does, in seconds."""


class _Held:
    """A claim as its holder knows it.

    asked, granted: the order of its asking and of its granting among all others'. until_s: when it
    ends, in true virtual seconds.
    """

    __slots__ = ("asked", "ended", "granted", "host", "started", "until_s")

    def __init__(self, host: str, asked: int, granted: int, until_s: float) -> None:
        self.host = host
        self.asked = asked
        self.granted = granted
        self.until_s = until_s
        self.started = False
        self.ended = False


class Watch:
    """What happened so far, and what of it should not have."""

    def __init__(self, trace: Trace | None = None) -> None:
        self.breaks: list[Break] = []
        self.starts: Counter[tuple[int, int]] = Counter()
        """By task and attempt: how often `Kind.execute` was entered."""
        self.ran: dict[int, set[bytes]] = {}
        """By task: the results that executions really came to."""
        self.stands: dict[int, set[bytes]] = {}
        """By task: the outcomes that strategies let stand, or answered again."""
        self.askers: dict[int, set[str]] = {}
        """By task: the hosts that asked whether they may run it."""
        self._refused: dict[int, set[bytes]] = {}  # by task: what its worker was told did not stand
        self._trace = trace
        self._offsets_s: dict[str, float] = {}
        self._claims: dict[int, list[_Held]] = {}
        self._order = itertools.count()

    # --- told by the scenario ------------------------------------------------------------------------

    def clock_of(self, host: str, offset_s: float) -> None:
        """A host's clock is so far ahead of the truth."""
        self._offsets_s[host] = offset_s
        if offset_s:
            self.note(host, "clock", (), f"is {offset_s:+.3f} s off")

    def died(self, host: str) -> None:
        """A host is no more, and its parent ends its claims: none of them is in force."""
        for claims in self._claims.values():
            for held in claims:
                held.ended = held.ended or held.host == host

    def note(self, host: str, op: str, tasks: Sequence[int] = (), text: str = "") -> None:
        if self._trace is not None:
            self._trace.add(_now_s(), What.HOST, host, "", op, tasks, text)

    def broken(self, invariant: Invariant, task: int | None, how: str, host: str = "") -> None:
        self.breaks.append(Break(invariant, _now_s(), task, how))
        self.note(host, "BROKEN", () if task is None else (task,), f"{invariant}: {how}")

    # --- told by the kind ----------------------------------------------------------------------------

    def started(self, attempt: Attempt) -> int:
        """An attempt begins. Returns how many attempts at this task began before."""
        host, index, at = current_host.get(), attempt.index, (attempt.index, attempt.number)
        before = sum(count for (task, _), count in self.starts.items() if task == index)
        self.starts[at] += 1
        self.note(host, "starts", (index,), "" if attempt.number == 1 else f"attempt {attempt.number}")
        if self.starts[at] > 1:
            times = "twice" if self.starts[at] == 2 else f"{self.starts[at]} times"
            how = f"attempt {attempt.number} is started {times}"
            self.broken(Invariant.ONE_START, index, how, host)
        claims = self._claims.get(index, [])
        own = next((held for held in claims if held.host == host and not held.started), None)
        now_s = _now_s()
        for held in claims:
            if held is not own and held.started and not held.ended and held.until_s > now_s:
                until = "for good" if held.until_s == math.inf else f"until {held.until_s:.3f} s"
                how = f"{host} starts it while the claim of {held.host} is in force {until}"
                self.broken(Invariant.ONE_START_WHILE_HELD, index, how, host)
        if own is not None:
            own.started = True
        return before

    def stopped(self, attempt: Attempt) -> None:
        """An attempt does not go on, and its claim is nobody's hindrance any more."""
        host = current_host.get()
        self.note(host, "is stopped", (attempt.index,))
        for held in self._claims.get(attempt.index, []):
            if held.host == host and held.started:
                held.ended = True

    def ended(self, index: int, result: object) -> None:
        host = current_host.get()
        self.note(host, "ends", (index,))
        self.ran.setdefault(index, set()).add(encode(Outcome(index, 0, State.DONE, result)))

    # --- told by the strategy ------------------------------------------------------------------------

    def asked(self, host: str, tasks: Sequence[Task]) -> int:
        """A host is about to ask for claims on these: their place in the order of things."""
        for task in tasks:
            self.askers.setdefault(task.index, set()).add(host)
        return next(self._order)

    def granted(self, host: str, claim: Claim, asked: int) -> _Held:
        until_s = claim.until_s - self._offsets_s.get(host, 0.0)
        held = _Held(host, asked, next(self._order), until_s)
        self._claims.setdefault(claim.task.index, []).append(held)
        return held

    def renewed(self, held: _Held, index: int, claim: Claim | None) -> None:
        if claim is None:
            held.ended = True
        else:
            held.until_s = claim.until_s - self._offsets_s.get(held.host, 0.0)

    def taken_over(self, held: _Held, index: int) -> bool:
        """Whether a claim on this task was granted that was not even asked for when this one was.

        Of two that were under way at the same time nobody here can say which came first.
        """
        return any(later.asked > held.granted for later in self._claims[index])

    def committed(
        self, host: str, held: _Held, outcome: Outcome, standing: Outcome | None, was_taken_over: bool
    ) -> None:
        index = outcome.index
        if standing is not outcome:
            self._refused.setdefault(index, set()).add(gist(outcome))
        if standing is None:
            held.ended = True
            self.note(host, "is refused", (index,))
        elif standing is not outcome:
            self.note(host, "is refused", (index,), "another outcome stands")
        else:
            if was_taken_over:
                how = f"{host} commits a claim that had been taken over"
                self.broken(Invariant.FENCED, index, how, host)
            self.note(host, "keeps", (index,), str(outcome.state))
        if standing is not None and standing.state is not State.RETRY:
            self.answers(host, standing)

    def answers(self, host: str, outcome: Outcome) -> None:
        """An outcome is let stand, or answered again."""
        stands, told = self.stands.setdefault(outcome.index, set()), gist(outcome)
        if outcome.state is State.DONE and told in self._refused.get(outcome.index, ()):
            how = "the outcome that stands was refused to the worker that came to it"
            self.broken(Invariant.TRUE_COUNTS, outcome.index, how, host)
        stands.add(told)
        if len(stands) == 2:
            self.broken(Invariant.ONE_RESULT, outcome.index, f"{host} answers with another result", host)


class WatchedStrategy(Strategy):
    """Hands every call on to the real strategy, and tells the watch what came of it."""

    name: ClassVar[str] = "watched"

    def __init__(self, inner: Strategy, watch: Watch, host: str) -> None:
        super().__init__(inner.ledger, inner.worker, inner.clock)
        self._inner = inner
        self._watch = watch
        self._host = host
        self._held: dict[tuple[int, str], list[_Held]] = {}

    @property
    def guarantee(self) -> Guarantee:  # type: ignore[override] # an instance of its own for each strategy
        return self._inner.guarantee

    @property
    def lease_s(self) -> float | None:
        return self._inner.lease_s

    @property
    def forgets_at_once(self) -> bool:
        return self._inner.forgets_at_once

    async def admit(self, tasks: Sequence[Task]) -> list[Verdict]:
        asked = self._watch.asked(self._host, tasks)
        verdicts = await self._inner.admit(tasks)
        for verdict in verdicts:
            if isinstance(verdict, Claim):
                at = (verdict.task.index, verdict.token)
                self._held.setdefault(at, []).append(self._watch.granted(self._host, verdict, asked))
            elif isinstance(verdict, Skip) and verdict.outcome is not None:
                self._watch.answers(self._host, verdict.outcome)
        return verdicts

    async def commit(self, claims: Sequence[Claim], outcomes: Sequence[Outcome]) -> list[Outcome | None]:
        held = [self._let_go(claim, started=True) for claim in claims]
        taken_over = []
        for one, outcome in zip(held, outcomes, strict=True):
            taken_over.append(self._watch.taken_over(one, outcome.index))
            # the attempt is over as soon as that is written, which is before anyone here learns of it
            one.ended = one.ended or outcome.state is State.RETRY
        stands = await self._inner.commit(claims, outcomes)
        for one, outcome, standing, was in zip(held, outcomes, stands, taken_over, strict=True):
            self._watch.committed(self._host, one, outcome, standing, was)
        return stands

    async def renew(self, claims: Sequence[Claim]) -> list[Claim | None]:
        renewed = await self._inner.renew(claims)
        for claim, new in zip(claims, renewed, strict=True):
            waiting = self._held.get((claim.task.index, claim.token), [])
            if not waiting:
                continue  # its commit was quicker
            held = waiting.pop(0)
            self._watch.renewed(held, claim.task.index, new)
            token = claim.token if new is None else new.token
            self._held.setdefault((claim.task.index, token), []).append(held)
        return renewed

    async def release(self, claims: Sequence[Claim]) -> None:
        for claim in claims:
            self._let_go(claim, started=False).ended = True
        await self._inner.release(claims)

    def _let_go(self, claim: Claim, started: bool) -> _Held:
        """The claim that is over. A strategy may give two copies of a task equal ones, at the same time."""
        waiting = self._held[claim.task.index, claim.token]
        held = next((each for each in waiting if each.started is started), waiting[0])
        waiting.remove(held)
        return held


class WatchedKind(Kind):
    """Takes as long as its body says, fails as often as its body says, and comes to a result of its own.

    Some of its tasks cancel the slot they run in, and fail by a cancellation of their own.
    """

    name: ClassVar[str] = "watched"

    def __init__(self, options: Mapping[str, Any]) -> None:
        """Options: `watch`, a Watch; `result_bytes`, which are added to each result; `stores`, an object."""
        self._watch: Watch = options["watch"]
        self._more = "." * options.get("result_bytes", 0)
        self._stores: bool = options.get("stores", False)
        self._objects: ObjectStore | None = None

    async def open(self, objects: ObjectStore) -> None:
        self._objects = objects

    def check(self, body: Any) -> None:
        return

    async def execute(self, body: Any, attempt: Attempt) -> Any:
        seconds, failures, _ = body
        before = self._watch.started(attempt)
        try:
            await asyncio.sleep(seconds)
            if failures:
                attempt.spent = Spent(seconds)
            if self._stores and self._objects is not None:
                await self._objects.put(f"{attempt.index}", _STORED)
        except asyncio.CancelledError:
            self._watch.stopped(attempt)
            raise
        await _cancel_own_slot(attempt.index)
        if attempt.number <= failures:
            failure = asyncio.CancelledError if attempt.index % 4 == 3 else ValueError
            raise failure(f"attempt {attempt.number} fails, as it is to")
        return self._result(attempt.index, before)

    def _result(self, index: int, before: int) -> str:
        result = f"{current_host.get()} start {before + 1}{self._more}"
        self._watch.ended(index, result)
        return result


async def _cancel_own_slot(index: int) -> None:
    """Do what cancel scopes of old do: a task in four cancels its slot, and half of these hear of it."""
    if index % 4 != 2:
        return
    slot = asyncio.current_task()
    assert slot is not None, "a slot is a task"
    slot.cancel()
    if index % 8 == 2:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0)


class HesitantKind(WatchedKind):
    """Has each third of its tasks wait for room on the machine before it starts."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__(options)
        self._asked = itertools.count(1)

    async def ready(self) -> None:
        if next(self._asked) % 3 == 0:
            await asyncio.sleep(ROOM_S)


class InstantKind(WatchedKind):
    """Takes no time, and runs what waits in batches."""

    def execute_now(self, bodies: Sequence[Any]) -> list[Any]:
        return [self._result(index, self._watch.started(Attempt("", index, 1))) for _, _, index in bodies]


def gist(outcome: Outcome) -> bytes:
    """What makes two outcomes different: not when they ended."""
    return encode(Outcome(outcome.index, 0, outcome.state, outcome.result, outcome.error))


def _now_s() -> float:
    return asyncio.get_running_loop().time()
