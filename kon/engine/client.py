"""The client: numbers tasks, submits them, and collects until every one is accounted for.

It may be killed at any moment and started again: what was submitted and what was answered stand in
the run's control table and journal, and a task that is submitted or answered twice is counted once.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count, groupby, islice, repeat
from typing import Any, Final

import msgspec

from kon.core.backend import Channel
from kon.core.clock import Clock
from kon.core.errors import BackendUnavailable, CodecError, MessageTooLarge
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
    Segment,
    State,
    Task,
    decode_answers,
    decode_bundle,
    encode,
    task_id,
)
from kon.engine.control import Control, Status, Window
from kon.engine.missing import Missing
from kon.engine.packing import batches
from kon.engine.patience import Patience, patient
from kon.engine.records.unreadable import Unreadable, encode_unreadable
from kon.engine.sizing import MOST_TASKS, Sizing

RECORDED_AT_ONCE: Final = 5_000
"""Outcomes in a packet that the client itself records."""

PILOT_S: Final = 0.3
"""How long the client waits for a first answer that tells how long tasks take, before it goes on without."""

ANSWERS_BYTES: Final = 4 << 20
"""So many bytes of answers are taken at once, about: a client's memory does not grow with the results."""

DEAD_AT_ONCE: Final = 10
"""Dead letters in the first receive of a look, where calls are billed: it is mostly in vain, and one call."""


class Tally:
    """Which tasks are accounted for, and how. One byte a task, so that ten million fit easily."""

    def __init__(self, tasks: int) -> None:
        self.tasks = tasks
        self.counts: dict[State, int] = dict.fromkeys(_CODES, 0)
        self.repeated_answers = 0
        self._codes = bytearray(tasks)
        self._left = tasks

    @property
    def left(self) -> int:
        """Tasks not accounted for."""
        return self._left

    def count(self, outcomes: Iterable[Outcome]) -> list[Outcome]:
        """Count outcomes; those that were news are returned. The first to come stands, but a task that
        was taken for dead or lost may still turn out done or failed."""
        outcomes = list(outcomes)
        if self._all_done_in_a_row(outcomes):
            return outcomes
        codes, news = self._codes, []
        for outcome in outcomes:
            index = outcome.index
            if not codes[index]:
                self._left -= 1
            elif outcome.state in _ANSWERED and _BY_CODE[codes[index]] not in _ANSWERED:
                self.counts[_BY_CODE[codes[index]]] -= 1
            else:
                self.repeated_answers += 1
                continue
            codes[index] = _CODES[outcome.state]
            self.counts[outcome.state] += 1
            news.append(outcome)
        return news

    def _all_done_in_a_row(self, outcomes: list[Outcome]) -> bool:
        """Count, at the speed of a slice, what most packets are: neighbours, all done, all news."""
        count = len(outcomes)
        first = outcomes[0].index if outcomes else 0
        if count < 2 or [o for o in outcomes if o.state is not _DONE]:
            return False
        if [o.index for o in outcomes] != list(range(first, first + count)):
            return False
        if any(self._codes[first : first + count]):
            return False
        self._codes[first : first + count] = bytes([_CODES[State.DONE]]) * count
        self._left -= count
        self.counts[State.DONE] += count
        return True

    def close(self, tasks: int) -> None:
        """There are that many tasks, and no more: of a run whose number of tasks was not known."""
        self._left -= self.tasks - tasks
        self.tasks = tasks

    def unaccounted(self) -> Iterator[int]:
        """The indexes of tasks without an outcome."""
        at = self._codes.find(0, 0, self.tasks)
        while at >= 0:
            yield at
            at = self._codes.find(0, at + 1, self.tasks)

    def state_of(self, index: int) -> State | None:
        return _BY_CODE.get(self._codes[index])


LONGEST_WAIT_S: Final = 5.0
"""The client's longest wait for answers, before it looks whether the run was cancelled or tasks were lost."""

_DONE: Final = State.DONE  # Python 3.11 takes longer to find a member in its class than for all else here
_CODES: Final = {
    state: code
    for code, state in enumerate((State.DONE, State.FAILED, State.DEAD, State.LOST, State.CANCELLED), start=1)
}
_BY_CODE: Final = {code: state for state, code in _CODES.items()}
_ANSWERED: Final = frozenset({State.DONE, State.FAILED})


class ClientOptions(msgspec.Struct, frozen=True):
    """wait_s: the long poll for answers, in seconds; None for what suits the queue.

    outage_s: how long the backend may stay away.
    in_flight: sends under way at once, and receives of answers while there are plenty.
    settle_s: how long an empty queue must stay empty before what is missing counts as lost, at most, for
        queues whose depth is an estimate; less where a queue says that its estimates lag by less.
    sizes: tasks of a message, in turn, where the spec leaves them to the client; for trials.
    """

    wait_s: float | None = None
    outage_s: float = 300.0
    in_flight: int = 16
    settle_s: float = 60.0
    sizes: tuple[int, ...] = ()


class Client:
    """The client of one run."""

    def __init__(
        self,
        spec: RunSpec,
        channel: Channel,
        journal: Journal,
        clock: Clock,
        rng: random.Random,
        options: ClientOptions | None = None,
        first_attempt: int = 1,
        unreadable: Journal | None = None,
        on_progress: Callable[[Tally], None] = lambda tally: None,
        on_trouble: Callable[[BackendUnavailable, float], None] = lambda error, pause_s: None,
    ) -> None:
        self.spec = spec
        self.tally = Tally(spec.tasks)
        self._options = options or ClientOptions()
        patience = Patience(self._options.outage_s, rng, on_trouble)
        self.timings = patience.timings
        self._channel = patient(channel, patience)
        self._control = Control(self._channel.control)
        self._journal = journal
        self._unreadable = unreadable or MemoryJournal()
        self._clock = clock
        self._rng = rng
        self._wait_s = self._options.wait_s or min(channel.answers.limits.poll_s / 2, LONGEST_WAIT_S)
        # where a receive is to wait long because each is billed, a look after every answer would be most of
        # a client's calls
        self._dead_letters_s = self._wait_s if channel.dead.limits.poll_s > LONGEST_WAIT_S else 0.0
        self._first_attempt = first_attempt  # above 1 when failed tasks are run again
        self._on_progress = on_progress
        self._missing = Missing(
            spec, self._channel, self._control, clock, self._options.settle_s, first_attempt
        )
        self._sizing = Sizing(spec, self._options.sizes)
        self._collecting = self._waited = False
        self._answered = asyncio.Event()
        self._answer_bytes = ANSWERS_BYTES // 10  # of the largest answer, lately; ten for a start

    async def run(self, bodies: Iterable[Any]) -> Tally:
        """Submit and collect at once; return when every task is accounted for."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.submit(bodies))
            group.create_task(self.collect())
        return self.tally

    # --- out -------------------------------------------------------------------------------------

    async def submit(self, bodies: Iterable[Any], upto: int | None = None) -> None:
        """Queue every task that is not queued yet. `bodies` are all the run's, from the first one on.

        upto: only that many, from the first, where the others come later.
        Raises MessageTooLarge for a task that fits into no message; those before it are queued.
        """
        submitted = (await self._control.read()).submitted
        numbered = map(Task, count(), bodies, repeat(self._first_attempt))
        end = self.spec.tasks if upto is None else upto
        tasks: Iterator[Task] = islice(numbered, submitted, end)
        if self.tally.left < self.spec.tasks:
            # recorded by an earlier client: done in a queue that is no more, or not to be run again
            tasks = (task for task in tasks if self.tally.state_of(task.index) is None)
        await self._submit(tasks, submitted, end)

    async def _submit(self, tasks: Iterator[Task], at: int, end: int) -> None:
        """Queue these tasks, which have indexes from `at` to before `end`, window by window."""
        sizing = self._sizing
        learns = self.spec.bundle is None or self.spec.tasks_per_row is None
        room = asyncio.Semaphore(self._options.in_flight)
        window = await self._control.planned() if learns else None
        messages = 0 if window is None else window.messages
        following: Task | None = None  # taken from `tasks`, and of a later window
        while at < end:
            left = self.spec.tasks - at
            planned = window is not None and window.first <= at < window.upto
            if not planned or window is None:
                size = sizing.size(left)
                window = Window(at, min(at + sizing.span(left, size), end), size, messages)
            part: list[Task] = []
            # no body is asked for before the window that it belongs to: it may fail
            while not part or part[-1].index + 1 < window.upto:
                following = following or next(tasks, None)
                if following is None or following.index >= window.upto:
                    break
                part.append(following)
                following = None
            if not planned:
                rows = self._fit(window.rows, part) if self.spec.tasks_per_row is None else 0
                window = msgspec.structs.replace(window, rows=rows)
                if learns:
                    await self._control.plan(window)
            sent = list(self._packed(part, window))
            await self._send(self._with_repeats(sent), room)
            messages += len(sent)
            at = min(window.upto, end)
            await self._control.submitted(at)
            if at < end and sizing.is_blind and self._collecting and not self._waited:
                self._waited = True
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(PILOT_S):
                        await self._answered.wait()

    async def _send(self, messages: Sequence[Message], room: asyncio.Semaphore) -> None:
        queue = self._channel.tasks
        async with asyncio.TaskGroup() as group:
            for batch in batches(messages, queue.limits):
                await room.acquire()
                group.create_task(queue.send(batch)).add_done_callback(lambda _: room.release())

    def _fit(self, size: int, tasks: list[Task]) -> int:
        """The size, or less where these tasks are too large for it."""
        some = tasks[:: max(1, len(tasks) // 8)]
        task_bytes = len(encode(Bundle(self.spec.run, some))) / max(1, len(some))
        return self._sizing.fit(size, task_bytes, self._channel.tasks.limits.max_bytes)

    def _packed(self, tasks: list[Task], window: Window) -> Iterator[Message]:
        """The tasks of a window in messages: by the window's pages, or of the size that suits."""
        if window.rows == 0:
            at = 0
            most = self._fit(MOST_TASKS, tasks) if self.spec.bundle is None else self.spec.bundle
            while at < len(tasks):
                size = min(self._sizing.size(self.spec.tasks - tasks[at].index), most)
                yield from self._messages(tasks[at : at + size], None)
                at += size
            return
        segment = window.segment if window.rows > 1 else None
        for _, page in groupby(tasks, key=lambda task: (task.index - window.first) // window.rows):
            yield from self._messages(list(page), segment)

    def _messages(self, tasks: list[Task], segment: Segment | None) -> Iterator[Message]:
        """The tasks in one message, or in several where they are too large for one."""
        run, max_bytes = self.spec.run, self._channel.tasks.limits.max_bytes
        body = encode(Bundle(run, tasks, segment=segment))
        if len(body) <= max_bytes:
            yield Message(body)
        elif len(tasks) > 1:
            half = len(tasks) // 2
            yield from self._messages(tasks[:half], segment)
            yield from self._messages(tasks[half:], segment)
        else:
            raise MessageTooLarge(
                f"task {task_id(run, tasks[0].index)} has {len(body)} bytes, and a message of this "
                f"backend takes {max_bytes}. It and those after it were not queued. Put large "
                "inputs into files or the object store, and their names into the task"
            )

    def _with_repeats(self, messages: list[Message]) -> list[Message]:
        """The messages, a share of them twice where the experiment asks for that: the second copy at a
        random place of the same window, so that it comes early, late, or while the first one runs."""
        rate = self.spec.faults.duplicate_rate
        if not rate:
            return messages
        copies = [message for message in messages if self._rng.random() < rate]
        for copy in copies:
            messages.insert(self._rng.randrange(len(messages) + 1), copy)
        return messages

    # --- back ------------------------------------------------------------------------------------

    def recall(self, outcomes: Iterable[Outcome]) -> None:
        """Count outcomes that an earlier client has recorded, but for those that are to be made again."""
        first = self._first_attempt
        self.tally.count([o for o in outcomes if o.attempt >= first or o.state is State.DONE])

    async def collect(self) -> Tally:
        """Record answers until every task is accounted for. Those that nothing is left of are lost."""
        self._collecting = True
        abreast = 1
        now_s = asyncio.get_running_loop().time
        looked_s = -math.inf
        while self.tally.left:
            news, plenty = await self._answers_of(abreast)
            # one receive after another would let a thousand workers' answers wait
            abreast = min(2 * abreast, self._most_abreast()) if plenty else 1
            if not news or (not plenty and now_s() - looked_s >= self._dead_letters_s):
                news += await self._dead_letters()
                looked_s = now_s()
            if news:
                self._missing.forget()
                self._on_progress(self.tally)
                continue
            self._on_progress(self.tally)
            state = await self._control.read()
            if state.status is Status.CANCELLED:
                if await self._missing.is_stopped():
                    self._account_for(State.CANCELLED, "the run was cancelled")
            elif state.submitted >= self.spec.tasks and await self._missing.is_quiet():
                await self._read_back()
        self._on_progress(self.tally)
        await self._journal.on_disk()  # the queues may be deleted from now on
        return self.tally

    async def close(self) -> None:
        """Tell workers that the run is over."""
        state = await self._control.read()
        if state.status is Status.OPEN:
            await self._control.close(Status.CLOSED)

    async def _answers_of(self, abreast: int) -> tuple[int, bool]:
        """Take answers by `abreast` receives at once; how many messages came, and whether each was full."""
        wanted = max(1, min(self._channel.answers.limits.max_batch, ANSWERS_BYTES // self._answer_bytes))
        if abreast == 1:
            got = [await self._answers(wanted, self._wait_s)]
        else:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._answers(wanted, 0.0)) for _ in range(abreast)]
            got = [task.result() for task in tasks]
        return sum(got), min(got) == wanted

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
            news = self.tally.count(answers.outcomes) if answers else []
            if news:
                self._sizing.learn(news)
                self._answered.set()
            if answers and len(news) == len(answers.outcomes):
                lines.append(delivery.body)
            elif answers and news:
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
        self._unreadable.append([encode_unreadable(Unreadable(queue, self._clock.now_s(), body, error))])
        await self._unreadable.on_disk()

    async def _dead_letters(self) -> int:
        queue = self._channel.dead
        most = queue.limits.max_batch
        wanted = min(DEAD_AT_ONCE, most) if self._dead_letters_s else most
        deliveries = await queue.receive(wanted, 0.0)
        if not deliveries:
            return 0
        if len(deliveries) == wanted < most:
            deliveries += await queue.receive(most - wanted, 0.0)
        now_s = self._clock.now_s()
        for delivery in deliveries:
            try:
                tasks = decode_bundle(delivery.body).tasks
            except CodecError as error:
                await self._keep("dead-letter queue", delivery.body, str(error))
                continue
            why = (
                f"its message was received more than {self.spec.max_receives} times, and no worker lived to "
                "answer it: perhaps the task itself kills its worker, or uses up its memory"
            )
            self._record(
                DEAD_LETTERS,
                [Outcome(t.index, t.attempt, State.DEAD, None, why, now_s, now_s) for t in tasks],
            )
        await self._journal.on_disk()
        await queue.ack(deliveries)
        return len(deliveries)

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
        now_s, attempt = self._clock.now_s(), self._first_attempt
        self._record(CLIENT, [Outcome(index, attempt, state, None, error, now_s, now_s) for index in indexes])

    def _record(self, worker: str, outcomes: list[Outcome]) -> None:
        news = self.tally.count(outcomes)
        if news:
            self._journal.append([encode(Answers(worker, news))])
