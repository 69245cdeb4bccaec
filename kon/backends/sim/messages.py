"""The messages of a queue that behaves as SQS is documented to: what is there, who holds it, what goes wrong.

Each method is what a call does at the service, in no time and all at once. `kon.backends.sim.backend` brings
calls here by the simulated network; `kon.trials.prove.amazon` brings them as HTTP. The file is one life
cycle: a message is sent, received, hidden, and deleted or moved to the dead-letter queue.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from kon.backends.sim.faults import Far, FaultSpans
from kon.backends.sim.network import Network
from kon.backends.sim.trace import What, tasks_of
from kon.core.errors import counted
from kon.core.queue import Delivery, Depth, Message

MAX_BATCH: Final = 10
"""Messages of one call."""

FIFO_WINDOW_S: Final = 300.0
"""How long a FIFO queue knows what was sent to it: SQS's own five minutes."""

_NOT_OF_FIFO: Final = frozenset(
    {"duplicate", "answer_duplicate", "resurrect", "stale_ack_deletes", "stale_ack_agrees"}
)
"""Faults that SQS FIFO is documented not to have."""

_VISIBLE, _HELD, _DELAYED, _GONE = range(4)

_SWEEP_FROM: Final = 1_024
"""Entries of the heap of hidden messages before it is worth clearing of those that were acked."""


class _Entry:
    """A message in the queue.

    receipt: the number of its newest receipt; older handles are stale. due_s: when a hidden one
    can be had again. again: a second copy, which does not multiply any more. sent_s: when it came.
    """

    __slots__ = ("again", "body", "due_s", "receipt", "receives", "sent_s", "state")

    def __init__(self, body: bytes, receives: int = 0, again: bool = False) -> None:
        self.body = body
        self.receives = receives
        self.again = again
        self.state = _VISIBLE
        self.receipt = 0
        self.due_s = 0.0
        self.sent_s = 0.0


class _Waiter:
    """A receive that waits at the service."""

    __slots__ = ("answer", "host", "max_messages", "timer")

    def __init__(self, host: str, max_messages: int, answer: asyncio.Future[list[Delivery]]) -> None:
        self.host = host
        self.max_messages = max_messages
        self.answer = answer
        self.timer: asyncio.TimerHandle | None = None


class Messages:
    """The messages of one queue. A receipt handle is the entry and the number of the receipt.

    duplicates: the fault by which a message of this queue is received twice.
    max_receives: deliveries of one message before it goes on to `dead`; both or neither are given.
    fifo: as SQS FIFO is: drops what is sent again within five minutes, makes no second copies, and refuses
        stale handles. Each message is a group of its own, so that order is none of its promises.
    """

    def __init__(
        self,
        name: str,
        network: Network,
        visibility_s: float,
        max_receives: float = math.inf,
        dead: Messages | None = None,
        duplicates: str = "duplicate",
        fifo: bool = False,
    ) -> None:
        self.name = name
        self.network = network
        self._faults = network.faults
        self._spans = FaultSpans() if self._faults is None else self._faults.spans
        self._visibility_s = visibility_s
        self._max_receives = max_receives
        self._dead = dead
        self._duplicates = duplicates
        estimates = self._faults is not None and self._faults.can_fire("depth_low")
        self._remembers = self._faults is not None and self._faults.can_fire("stale_depth")
        self.stale_depth = self._remembers or estimates
        """Whether `depth` may be off."""
        self.fifo = fifo
        self._sent_s: dict[bytes, float] = {}  # bodies, and when each was sent; the oldest come first
        self.max_in_flight: float = math.inf
        """Messages that may be held at once; while that many are, a receive finds nothing."""
        self.most_in_flight = 0
        self.retention_s: float = math.inf
        """How long a message is kept. Whoever would receive an older one finds it deleted."""
        self.on_expired: Callable[[bytes], None] = lambda body: None
        """Called with the body of a message that was kept for too long."""
        self._visible: deque[_Entry] = deque()  # those that are not, by now, are passed over
        self._hidden: list[tuple[float, int, _Entry]] = []  # judged when they come up
        self._order = itertools.count()
        self._sweep_at = _SWEEP_FROM
        self._counts = [0, 0, 0, 0]  # by state
        self._past_depths: deque[tuple[float, Depth]] = deque()
        self._waiters: deque[_Waiter] = deque()
        self._alarm: asyncio.TimerHandle | None = None

    @property
    def has_room(self) -> bool:
        """Whether one more message may be held."""
        return self._room() > 0

    def is_gone(self, delivery: Delivery) -> bool:
        """Whether nobody has the message any more, and nobody will."""
        return bool(delivery.handle[0].state == _GONE)

    def true_depth(self) -> Depth:
        """What is really there now, for invariants: no call, no fault."""
        self._release(asyncio.get_running_loop().time())
        visible, held, delayed, _ = self._counts
        return Depth(visible=visible, in_flight=held, delayed=delayed)

    # --- what they do --------------------------------------------------------------------------------

    def store(self, messages: Sequence[Message], host: str) -> None:
        now_s = asyncio.get_running_loop().time()
        for message in messages:
            if self.fifo and self._was_sent(message.body, now_s):
                self._tell(What.EFFECT, host, "send", [message], "dropped: it was sent before")
                continue
            delay_s = message.delay_s
            if (far := self._fires("delay")) is not None:
                late_s = far.uniform(0.0, self._spans.delay_s)
                delay_s += late_s
                self._tell(What.FAULT, host, "send", [message], f"late by {late_s:.3f} s")
            self._add(_Entry(message.body), now_s, delay_s)
        self._tell(What.EFFECT, host, "send", messages, "stored")
        self._attend(now_s)

    def serve(
        self, max_messages: int, wait_s: float, host: str
    ) -> list[Delivery] | asyncio.Future[list[Delivery]]:
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        self._release(now_s)
        if self._visible and self._fires("receive_missed") is not None:
            self._tell(What.FAULT, host, "receive", [], "finds nothing, though there is something")
            return []
        taken = self._take(host, max_messages, now_s)
        if taken or wait_s <= 0.0 or max_messages < 1:
            self._attend(now_s)
            return taken
        waiter = _Waiter(host, max_messages, loop.create_future())
        waiter.timer = loop.call_later(wait_s, _give_nothing, waiter.answer)
        self._waiters.append(waiter)
        self._attend(now_s)
        return waiter.answer

    def extend(self, deliveries: Sequence[Delivery], visible_s: float, host: str) -> list[bool]:
        now_s = asyncio.get_running_loop().time()
        self._release(now_s)
        verdicts = []
        for delivery in deliveries:
            entry: _Entry = delivery.handle[0]
            held = self._is_current(host, delivery, "extend")
            if held:
                if visible_s > 0.0:
                    self._hide(entry, _HELD, now_s + visible_s)
                else:
                    self._show(entry)
            verdicts.append(held)
        self._tell_verdicts(host, "extend", deliveries, verdicts, f"held for {visible_s:g} s")
        self._attend(now_s)
        return verdicts

    def ack(self, deliveries: Sequence[Delivery], host: str) -> list[bool]:
        now_s = asyncio.get_running_loop().time()
        self._release(now_s)
        verdicts = [self._ack_one(host, delivery, now_s) for delivery in deliveries]
        self._tell_verdicts(host, "ack", deliveries, verdicts, "deleted")
        self._attend(now_s)
        return verdicts

    def _ack_one(self, host: str, delivery: Delivery, now_s: float) -> bool:
        entry: _Entry = delivery.handle[0]
        if self._fires("ack_failed") is not None:
            self._tell(What.FAULT, host, "ack", [delivery], "the service fails, the message stays")
            return False
        if self._is_current(host, delivery, "ack"):
            self._delete(entry)
            if not entry.again and (far := self._fires("resurrect")) is not None:
                self._copy(host, entry, "ack", far.uniform(0.0, self._spans.resurrect_s), now_s)
            return True
        if entry.state == _GONE:
            return False
        if self._fires("stale_ack_deletes") is not None:
            self._tell(What.FAULT, host, "ack", [delivery], "a stale handle deletes it all the same")
            self._delete(entry)
            return True
        if self._fires("stale_ack_agrees") is not None:
            self._tell(What.FAULT, host, "ack", [delivery], "a stale handle is agreed to; the message stays")
            return True
        return False

    def depth(self, host: str) -> Depth:
        now = self.true_depth()
        if self._fires("depth_low") is not None:
            self._tell(What.FAULT, host, "depth", [], f"no message, they say; there are {now.total}")
            return Depth(0, 0, 0)
        if (far := self._fires("stale_depth")) is not None:
            then_s = asyncio.get_running_loop().time() - far.uniform(0.0, self._spans.stale_s)
            past = [depth for at_s, depth in self._past_depths if at_s <= then_s]
            then = past[-1] if past else Depth(0, 0, 0)
            self._tell(
                What.FAULT, host, "depth", [], f"{counted(then.total, 'message')}, as it was; now {now.total}"
            )
            return then
        return now

    # --- messages ------------------------------------------------------------------------------------

    def _take(self, host: str, max_messages: int, now_s: float) -> list[Delivery]:
        """What a receive gets now; `_release` has been called."""
        faults, visible = self._faults, self._visible
        if len(visible) > 1 and (far := self._fires("reorder")) is not None:
            _shuffle(visible, far)
            self._tell(What.FAULT, host, "receive", [], "the order is lost")
        taken: list[Delivery] = []
        reached = 0
        max_messages = min(max_messages, self._room())
        while reached < max_messages and visible:
            entry = visible.popleft()
            if entry.state != _VISIBLE:
                continue
            if entry.sent_s + self.retention_s <= now_s:
                self._delete(entry)
                self._tell(What.FAULT, host, "receive", [entry], "kept for too long: deleted")
                self.on_expired(entry.body)
                continue
            if self._dead is not None and entry.receives >= self._max_receives:
                self._bury(host, entry, now_s)
                continue
            entry.receives += 1
            entry.receipt += 1
            reached += 1
            self._hide(entry, _HELD, now_s + self._visibility_s)
            if faults is not None:
                if not entry.again and (far := self._fires(self._duplicates)) is not None:
                    late_s = 0.0 if far.random() < 0.5 else far.uniform(0.0, faults.spans.duplicate_s)
                    self._copy(host, entry, "receive", late_s, now_s)
                if faults.fires("receive_lost", self.name) is not None:
                    self._tell(What.FAULT, host, "receive", [entry], "falls out of the reply")
                    continue
            taken.append(Delivery((entry, entry.receipt), entry.body, entry.receives))
            self._tell(What.EFFECT, host, "receive", taken[-1:], f"given, receipt {entry.receives}")
        if self._counts[_HELD] > self.most_in_flight:
            self.most_in_flight = self._counts[_HELD]
        return taken

    def _room(self) -> int:
        """How many more messages may be held."""
        if self.max_in_flight == math.inf:
            return MAX_BATCH
        return int(self.max_in_flight) - self._counts[_HELD]

    def take_back(self, deliveries: Sequence[Delivery]) -> None:
        """Show again what was given to a caller that hung up."""
        for delivery in deliveries:
            entry, receipt = delivery.handle
            if entry.state == _HELD and entry.receipt == receipt:
                self._show(entry)
        self._attend(asyncio.get_running_loop().time())

    def _bury(self, host: str, entry: _Entry, now_s: float) -> None:
        """Move to the dead-letter queue."""
        if self._dead is not None:
            self._delete(entry)
            self._dead._add(_Entry(entry.body), now_s, 0.0)
            self._dead._attend(now_s)
            note = f"received {entry.receives} times: to {self._dead.name}"
            self._tell(What.EFFECT, host, "receive", [entry], note)

    def _copy(self, host: str, entry: _Entry, op: str, late_s: float, now_s: float) -> None:
        """A second copy of the message, as one of the service's own replicas may turn up with."""
        self._add(_Entry(entry.body, entry.receives, again=True), now_s, late_s)
        self._tell(What.FAULT, host, op, [entry], f"a second copy turns up in {late_s:.3f} s")

    def _is_current(self, host: str, delivery: Delivery, op: str) -> bool:
        entry, receipt = delivery.handle
        if entry.state == _GONE or entry.receipt != receipt:
            return False
        if self._fires("handle_expired") is not None:
            self._tell(What.FAULT, host, op, [delivery], "the receipt handle has expired")
            entry.receipt += 1  # for good: a repeat is refused as well
            return False
        return True

    def _was_sent(self, body: bytes, now_s: float) -> bool:
        """Whether the body is one of the last five minutes'; it is from now on."""
        sent_s = self._sent_s
        while sent_s and (first := next(iter(sent_s.items())))[1] <= now_s - FIFO_WINDOW_S:
            del sent_s[first[0]]
        if body in sent_s:
            return True
        sent_s[body] = now_s
        return False

    def _fires(self, fault: str) -> Far | None:
        if self.fifo and fault in _NOT_OF_FIFO:
            return None
        return None if self._faults is None else self._faults.fires(fault, self.name)

    def _add(self, entry: _Entry, now_s: float, delay_s: float) -> None:
        entry.sent_s = now_s
        self._counts[_VISIBLE] += 1
        if delay_s > 0.0:
            self._hide(entry, _DELAYED, now_s + delay_s)
        else:
            self._visible.append(entry)

    def _hide(self, entry: _Entry, state: int, due_s: float) -> None:
        self._counts[entry.state] -= 1
        self._counts[state] += 1
        entry.state = state
        entry.due_s = due_s
        heapq.heappush(self._hidden, (due_s, next(self._order), entry))
        if len(self._hidden) > self._sweep_at:
            self._hidden = [hidden for hidden in self._hidden if _governs(hidden[0], hidden[2])]
            heapq.heapify(self._hidden)
            self._sweep_at = 2 * len(self._hidden) + _SWEEP_FROM

    def _show(self, entry: _Entry) -> None:
        self._counts[entry.state] -= 1
        self._counts[_VISIBLE] += 1
        entry.state = _VISIBLE
        self._visible.append(entry)

    def _delete(self, entry: _Entry) -> None:
        self._counts[entry.state] -= 1
        entry.state = _GONE

    def _release(self, now_s: float) -> None:
        """Show what is due."""
        hidden = self._hidden
        while hidden and hidden[0][0] <= now_s:
            due_s, _, entry = heapq.heappop(hidden)
            if _governs(due_s, entry):
                self._show(entry)

    # --- receives that wait --------------------------------------------------------------------------

    def _attend(self, now_s: float) -> None:
        """After every change: serve who waits, and remember the depth where that will be asked for."""
        if self._waiters:
            self._release(now_s)
            while self._waiters and self._visible and self._room() > 0:
                waiter = self._waiters[0]
                if not waiter.answer.done():
                    taken = self._take(waiter.host, waiter.max_messages, now_s)
                    if not taken:
                        continue  # whatever it took fell out of the reply
                    waiter.answer.set_result(taken)
                if waiter.timer is not None:
                    waiter.timer.cancel()
                self._waiters.popleft()
            self._arm()
        if self._remembers:
            past = self._past_depths
            past.append((now_s, self.true_depth()))
            while len(past) > 1 and past[1][0] <= now_s - self._spans.stale_s:
                past.popleft()

    def _arm(self) -> None:
        """While somebody waits, have a timer at the time when the next hidden message is due."""
        while self._waiters and self._waiters[0].answer.done():
            self._waiters.popleft()
        if self._hidden and self._waiters:
            due_s = self._hidden[0][0]
            if self._alarm is not None:
                if self._alarm.when() <= due_s:
                    return
                self._alarm.cancel()
            loop = asyncio.get_running_loop()
            self._alarm = loop.call_at(due_s, self._on_due)

    def _on_due(self) -> None:
        self._alarm = None
        self._attend(asyncio.get_running_loop().time())

    # --- the trace -----------------------------------------------------------------------------------

    def tasks(self, about: Sequence[Message | Delivery | _Entry]) -> tuple[int, ...]:
        if self.network.trace is None:
            return ()
        return tuple(index for each in about for index in tasks_of(each.body))

    def _tell(
        self, what: What, host: str, op: str, about: Sequence[Message | Delivery | _Entry], note: str
    ) -> None:
        if self.network.trace is not None:
            now_s = asyncio.get_running_loop().time()
            self.network.trace.add(now_s, what, host, self.name, op, self.tasks(about), note)

    def _tell_verdicts(
        self, host: str, op: str, deliveries: Sequence[Delivery], verdicts: Sequence[bool], done: str
    ) -> None:
        if self.network.trace is not None:
            for delivery, verdict in zip(deliveries, verdicts, strict=True):
                note = done if verdict else "refused"
                self._tell(What.EFFECT, host, op, [delivery], note)


def _governs(due_s: float, entry: _Entry) -> bool:
    """Whether an item of the heap still says when this message is due."""
    return entry.due_s == due_s and (entry.state == _HELD or entry.state == _DELAYED)


def _shuffle(visible: deque[_Entry], far: Far) -> None:
    order = list(visible)
    far.shuffle(order)
    visible.clear()
    visible.extend(order)


def _give_nothing(answer: asyncio.Future[list[Delivery]]) -> None:
    if not answer.done():
        answer.set_result([])
