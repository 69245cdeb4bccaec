"""The client: numbers tasks, submits them, and collects until every one is accounted for.

It may be killed at any moment and started again: what was submitted and what was answered stand in
the run's control table and journal, and a task that is submitted or answered twice is counted once.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

import msgspec

from kon.core.backend import Channel
from kon.core.clock import Clock
from kon.core.errors import CodecError, KonError
from kon.core.journal import Journal, MemoryJournal
from kon.core.queue import Message
from kon.core.spec import RunSpec
from kon.core.task import (
    CLIENT,
    DEAD_LETTERS,
    LEDGER,
    Answers,
    Bundle,
    Outcome,
    State,
    Task,
    decode_answers,
    decode_bundle,
    encode,
)
from kon.engine.control import Control, Status
from kon.engine.missing import Missing
from kon.engine.patience import Patience, patient
from kon.engine.records.records import Unreadable, encode_unreadable
from kon.engine.submitter import Submitter
from kon.engine.tally import Tally

RECORDED_AT_ONCE: Final = 5_000
"""Outcomes in a packet that the client itself records."""

ANSWERS_BYTES: Final = 4 << 20
"""So many bytes of answers are taken at once, about: a client's memory does not grow with the results."""

ABREAST_S: Final = 0.2
"""How long receives abreast follow each other without a wait for the slowest. In between, the client says how
far it is, and looks for dead letters."""

DEAD_AT_ONCE: Final = 10
"""Dead letters in the first receive of a look: it is mostly in vain, and one call where those are billed."""


LONGEST_WAIT_S: Final = 5.0
"""The client's longest wait for answers, before it looks whether the run was cancelled or tasks were lost."""


class ClientOptions(msgspec.Struct, frozen=True):
    """wait_s: the long poll for answers, in seconds; None for what suits the queue.

    outage_s: how long the backend may stay away.
    in_flight: sends under way at once, and receives of answers while there are plenty.
    settle_s: how long an empty queue must stay empty before what is missing counts as lost, at most, for
        queues whose depth is an estimate; less where a queue says that its estimates lag by less.
    sizes: tasks of a message, in turn, where the spec leaves them to the client; for trials.
    following: tasks that would come after the run's, where it is the beginning of a larger one.
    first_attempt: above 1 when failed tasks are run again.
    """

    wait_s: float | None = None
    outage_s: float = 300.0
    in_flight: int = 16
    settle_s: float = 60.0
    sizes: tuple[int, ...] = ()
    following: int = 0
    first_attempt: int = 1


DEFAULT_OPTIONS: Final = ClientOptions()


@dataclass(frozen=True)
class Listener:
    """Whom a client tells what happens.

    results: gets the outcomes that count.
    on_progress: called with the tally after each look for answers.
    on_trouble: called with an error of the backend, and with the pause in seconds before the next attempt.
    unreadable: gets the messages that can't be read.
    """

    results: Journal
    on_progress: Callable[[Tally], None] = lambda tally: None
    on_trouble: Callable[[KonError, float], None] = lambda error, pause_s: None
    unreadable: Journal = field(default_factory=MemoryJournal)


class Client:
    """The client of one run."""

    def __init__(
        self,
        spec: RunSpec,
        channel: Channel,
        listener: Listener,
        clock: Clock,
        rng: random.Random,
        options: ClientOptions = DEFAULT_OPTIONS,
    ) -> None:
        self.spec = spec
        self.tally = Tally(spec.tasks)
        self._options = options
        self._listener = listener
        patience = Patience(options.outage_s, rng, listener.on_trouble)
        self.timings = patience.timings
        self._channel = patient(channel, patience)
        self._control = Control(self._channel.control)
        self._journal = listener.results
        self._clock = clock
        self._wait_s = options.wait_s or min(channel.answers.limits.poll_s / 2, LONGEST_WAIT_S)
        # where a receive is to wait long because each is billed, a look after every answer would be most of
        # a client's calls
        self._dead_letters_s = self._wait_s if channel.dead.limits.poll_s > LONGEST_WAIT_S else 0.0
        first_attempt = options.first_attempt
        self._missing = Missing(spec, self._channel, self._control, clock, options.settle_s, first_attempt)
        self._submitter = Submitter(
            spec, self._channel, self.tally, rng, options.in_flight, options.sizes, options.following
        )
        self._answer_bytes = ANSWERS_BYTES // 10  # of the largest answer, lately; ten for a start
        self._excused = Counter[
            tuple[int, int]
        ]()  # by task and attempt: dead letters that were sent once more

    async def run(self, bodies: Iterable[Any]) -> Tally:
        """Submit and collect at once; return when every task is accounted for."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.submit(bodies))
            group.create_task(self.collect())
        return self.tally

    async def submit(self, bodies: Iterable[Any], upto: int | None = None) -> None:
        """Queue every task that is not queued yet. `bodies` are all the run's, from the first one on.

        upto: only that many, from the first, where the others come later.
        Raises MessageTooLarge for a task that fits into no message; those before it are queued.
        """
        await self._submitter.submit(bodies, upto, self._options.first_attempt)

    def recall(self, outcomes: Iterable[Outcome]) -> None:
        """Count outcomes that an earlier client has recorded, but for those that are to be made again."""
        self._count(list(outcomes))

    async def collect(self) -> Tally:
        """Record answers until every task is accounted for. Those that nothing is left of are lost."""
        self._submitter.expects_answers = True
        abreast, plenty = 1, False
        now_s = asyncio.get_running_loop().time
        looked_s = -math.inf
        while self.tally.left:
            # one receive after another would let a thousand workers' answers wait
            news, full, plenty = await self._answers_of(abreast if plenty else 1)
            # after a wait for the next answer, there will be as many again as were full
            abreast = min(2 * abreast, self._most_abreast()) if plenty else max(1, min(abreast, full))
            if not news or (not plenty and now_s() - looked_s >= self._dead_letters_s):
                news += await self._dead_letters()
                looked_s = now_s()
            self._listener.on_progress(self.tally)
            if news:
                self._missing.forget()
                continue
            state = await self._control.read()
            if state.status is Status.CANCELLED:
                if await self._missing.is_stopped():
                    self._account_for(State.CANCELLED, "the run was cancelled")
            elif state.submitted >= self.spec.tasks and await self._missing.is_quiet():
                await self._read_back()
        self._listener.on_progress(self.tally)
        await self._journal.on_disk()  # the queues may be deleted from now on
        return self.tally

    async def close(self) -> None:
        """Tell workers that the run is over."""
        state = await self._control.read()
        if state.status is Status.OPEN:
            await self._control.close(Status.CLOSED)

    async def _answers_of(self, abreast: int) -> tuple[int, int, bool]:
        """Take answers by `abreast` receives at once, each followed by more where there are plenty.

        Returns how many messages came, how many receives were full, and whether all were.
        """
        wanted = max(1, min(self._channel.answers.limits.max_batch, ANSWERS_BYTES // self._answer_bytes))
        if abreast == 1:
            got = [await self._answers(wanted, self._wait_s)]
        else:
            got, now_s = [], asyncio.get_running_loop().time
            upto_s = now_s() + (ABREAST_S if abreast == self._most_abreast() else 0.0)
            dry = False

            async def in_turn() -> None:
                nonlocal dry
                while True:
                    got.append(await self._answers(wanted, 0.0))
                    dry = dry or got[-1] < wanted
                    if dry or not self.tally.left or now_s() >= upto_s:
                        return

            async with asyncio.TaskGroup() as group:
                for _ in range(abreast):
                    group.create_task(in_turn())
        full = got.count(wanted)
        return sum(got), full, full == len(got)

    def _most_abreast(self) -> int:
        """How many full receives may be under way at once."""
        receive_bytes = self._channel.answers.limits.max_batch * self._answer_bytes
        return max(1, min(self._options.in_flight, ANSWERS_BYTES // receive_bytes))

    async def _answers(self, wanted: int, wait_s: float) -> int:
        queue = self._channel.answers
        deliveries = await queue.receive(wanted, wait_s)
        if not deliveries:
            return 0
        self._answer_bytes = max(len(delivery.body) for delivery in deliveries)
        lines: list[bytes] = []
        for delivery in deliveries:
            answers = await self._decode(delivery.body)
            if answers is None:
                continue
            news = self._count(answers.outcomes)
            self._submitter.learn(news)
            if len(news) == len(answers.outcomes):
                lines.append(delivery.body)
            elif news:
                lines.append(encode(Answers(answers.worker, news)))
        # recorded before they are acked, so that a killed client finds them in one place or the other
        self._journal.append(lines)
        await self._journal.on_disk()
        await queue.ack(deliveries)
        return len(deliveries)

    async def _decode(self, body: bytes) -> Answers | None:
        try:
            return decode_answers(body)
        except CodecError as error:
            await self._keep("answers queue", body, str(error))
            return None

    async def _keep(self, queue: str, body: bytes, error: str) -> None:
        """Keep a message that can't be read, for a person: its queue may be deleted when the run is over."""
        self._listener.unreadable.append(
            [encode_unreadable(Unreadable(queue, self._clock.now_s(), body, error))]
        )
        await self._listener.unreadable.on_disk(always=True)

    async def _dead_letters(self) -> int:
        queue = self._channel.dead
        most = queue.limits.max_batch
        wanted = min(DEAD_AT_ONCE, most)
        deliveries = await queue.receive(wanted, 0.0)
        if not deliveries:
            return 0
        if len(deliveries) == wanted < most:
            deliveries += await queue.receive(most - wanted, 0.0)
        now_s = self._clock.now_s()
        denied = sum(worker.denied != "" for worker in await self._control.workers())
        queued = set[int]()  # tasks of these that are queued again
        for delivery in deliveries:
            try:
                bundle = decode_bundle(delivery.body)
            except CodecError as error:
                await self._keep("dead-letter queue", delivery.body, str(error))
                continue
            tasks = await self._once_more(bundle, denied, queued)
            why = (
                f"its message was received more than {self.spec.max_receives} times, and no worker lived to "
                "answer it: perhaps the task itself kills its worker, or uses up its memory"
            )
            self._record(
                DEAD_LETTERS,
                [Outcome(t.index, t.attempt, State.DEAD, None, why, now_s, now_s) for t in tasks],
            )
        await self._journal.on_disk(always=True)  # no ledger knows of them
        await queue.ack(deliveries)
        return len(deliveries)

    async def _once_more(self, bundle: Bundle, denied: int, queued: set[int]) -> Sequence[Task]:
        """Queue again those tasks of a dead letter that workers may have received in vain; the others.

        denied: workers so far that were denied what they need. Each excuses one dead letter of an attempt: of
            two attempts at a task there may be messages, the bundle's and the second one's own.
        queued: tasks that are queued again already. One that was given back may have two messages.
        """
        twins = [task for task in bundle.tasks if task.index in queued]
        again = [
            task
            for task in bundle.tasks
            if task not in twins and self._excused[task.index, task.attempt] < denied
        ]
        if again:
            queued.update(task.index for task in again)
            self._excused.update((task.index, task.attempt) for task in again)
            # the count of moves makes its body new to a queue that drops what is repeated
            anew = msgspec.structs.replace(bundle, tasks=again, receives=0, moves=bundle.moves + 1)
            await self._channel.tasks.send([Message(encode(anew))])
        return [task for task in bundle.tasks if task not in again and task not in twins]

    async def _read_back(self) -> None:
        """Account for tasks that nobody answers: by what the ledger has, or else as lost."""
        indexes = self.tally.unaccounted()
        while part := list(islice(indexes, RECORDED_AT_ONCE)):
            known = await self._missing.read_back(part)
            self._record(LEDGER, [each for each in known if isinstance(each, Outcome)])
            lost = [index for index, each in zip(part, known, strict=True) if each is None]
            self._give_up(lost, State.LOST, "its claim outlived its worker, and no message is left")
        self._missing.forget()  # the others are claimed: all is looked at again

    def _account_for(self, state: State, error: str) -> None:
        indexes = self.tally.unaccounted()
        while part := list(islice(indexes, RECORDED_AT_ONCE)):
            self._give_up(part, state, error)

    def _give_up(self, indexes: Sequence[int], state: State, error: str) -> None:
        now_s, attempt = self._clock.now_s(), self._options.first_attempt
        self._record(CLIENT, [Outcome(index, attempt, state, None, error, now_s, now_s) for index in indexes])

    def _record(self, worker: str, outcomes: list[Outcome]) -> None:
        news = self._count(outcomes)
        if news:
            self._journal.append([encode(Answers(worker, news))])

    def _count(self, outcomes: list[Outcome]) -> list[Outcome]:
        """Those that are news. Where tasks are run again, what a worker of an earlier round still says of an
        earlier attempt is none, but for what is done."""
        first = self._options.first_attempt
        if first > 1:
            outcomes = [o for o in outcomes if o.attempt >= first or o.state is State.DONE]
        return self.tally.count(outcomes)
