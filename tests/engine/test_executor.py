"""The executor by itself: slots, batches of what takes no time, claims that ran out, and a drain's end."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from kon.core.clock import Clock
from kon.core.errors import KindError
from kon.core.journal import MemoryJournal
from kon.core.kind import Attempt, Kind, Spent
from kon.core.queue import Delivery
from kon.core.strategy import Claim
from kon.core.task import Bundle, Outcome, State, Task
from kon.engine.executor import INSTANT_BATCH, Executor, ExecutorOptions
from kon.engine.holding import Held, Job
from kon.engine.records.events import Recorder
from tests.engine.world import Scripted, in_virtual_time


class Instant(Scripted):
    """Runs what has no length in batches. `calls`: the bodies of each."""

    def __init__(self, refuses: bool = False) -> None:
        super().__init__({})
        self.calls: list[list[Any]] = []
        self.refuses = refuses

    def execute_now(self, bodies: Sequence[Any]) -> list[Any] | None:
        if self.refuses:
            return None
        self.calls.append(list(bodies))
        return [body["result"] for body in bodies]


class Room:
    """An executor, and what came of its jobs."""

    def __init__(self, kind: Kind, slots: int, attempts: int = 3, timeout_s: float | None = None) -> None:
        self.finished: list[list[int]] = []
        self.outcomes: dict[int, Outcome] = {}
        self.dropped: list[int] = []
        self.journal = MemoryJournal()
        clock = Clock(1_000.0)
        self.recorder = Recorder(self.journal, clock)
        self.executor = Executor(
            kind,
            ExecutorOptions("r", slots, attempts, timeout_s, 1_000),
            clock,
            self.recorder,
            on_finished=self._finished,
            on_dropped=lambda job: self.dropped.append(job.task.index),
        )

    def _finished(self, jobs: Sequence[Job]) -> None:
        self.finished.append([job.task.index for job in jobs])
        for job in jobs:
            assert job.outcome is not None
            self.outcomes[job.task.index] = job.outcome

    def events(self, event: str) -> list[int]:
        found: list[int] = []
        for line in map(msgspec.json.decode, self.journal.lines):
            if line["e"] == event:
                first, count = line.get("r", (0, 0))
                found += line.get("i", range(first, first + count))
        return found


@asynccontextmanager
async def room(kind: Kind, slots: int = 1, **more: Any) -> AsyncIterator[Room]:
    async with asyncio.TaskGroup() as group:
        made = Room(kind, slots, **more)
        made.executor.start(group)
        yield made
        await made.executor.stop(0.0)


def jobs(*bodies: Any, until_s: float = math.inf, first: int = 0, stops: int = 0) -> list[Job]:
    made = []
    for index, body in enumerate(bodies, first):
        task = Task(index, body)
        held = Held(Delivery("", b"", 1), Bundle("r", [task], stops=stops), 1)
        made.append(Job(held, Claim(task, "t", until_s), task))
    return made


def test_what_takes_no_time_is_run_in_batches_and_others_have_their_turn_between() -> None:
    async def main() -> None:
        kind = Instant()
        async with room(kind) as made:
            count = 2 * INSTANT_BATCH + 7
            made.executor.submit(jobs(*({"result": n} for n in range(count))))
            turns = 0
            while made.executor.waiting:
                turns += 1
                await asyncio.sleep(0)
            assert [len(call) for call in kind.calls] == [INSTANT_BATCH, INSTANT_BATCH, 7]
            assert turns >= 3
            assert [index for part in made.finished for index in part] == list(range(count))
            assert {outcome.result for outcome in made.outcomes.values()} == set(range(count))
            assert {outcome.state for outcome in made.outcomes.values()} == {State.DONE}
            assert made.executor.started == count
            assert made.executor.idle
            assert made.events("start") == list(range(count))

    in_virtual_time(main())


@pytest.mark.parametrize("until_s", [1_001.0, 1_005.0])
def test_of_a_batch_those_whose_claim_ran_out_are_dropped_and_not_run(until_s: float) -> None:
    """To the very moment: one that were neither run nor dropped would be held for ever."""

    async def main() -> None:
        kind = Instant()
        async with room(kind) as made:
            await asyncio.sleep(5.0)
            some = jobs({"result": 0}, {"result": 1}) + jobs({"result": 2}, until_s=until_s, first=2)
            made.executor.submit(some)
            await asyncio.sleep(1.0)
            assert kind.calls == [[{"result": 0}, {"result": 1}]]
            assert (made.finished, made.dropped) == ([[0, 1]], [2])
            assert made.executor.started == 2
            assert made.executor.last_start_s == 5.0
            made.executor.submit(jobs({"result": 3}, until_s=1_001.0, first=3))
            await asyncio.sleep(1.0)
            assert (made.finished, made.dropped) == ([[0, 1]], [2, 3])
            assert made.events("start") == [0, 1]

    in_virtual_time(main())


def test_a_batch_that_its_kind_does_not_take_is_run_one_by_one_in_its_order() -> None:
    async def main() -> None:
        kind = Instant(refuses=True)
        async with room(kind) as made:
            made.executor.submit(jobs({"s": 1.0}, {"s": 0.0}, {"s": 1.0}))
            await asyncio.sleep(3.0)
            assert [attempt.index for attempt in kind.attempts] == [0, 1, 2]
            assert made.finished == [[0], [1], [2]]
            assert made.events("start") == [0, 1, 2]
            assert made.executor.started == 3

    in_virtual_time(main())


@pytest.mark.parametrize("until_s", [1_000.5, 1_001.0, 1_002.0])
def test_a_claim_that_ran_out_while_its_task_waited_is_not_begun(until_s: float) -> None:
    async def main() -> None:
        kind = Scripted({})
        async with room(kind) as made:
            made.executor.submit(jobs({"s": 1.0}))
            made.executor.submit(jobs({"s": 1.0}, until_s=until_s, first=1))
            await asyncio.sleep(5.0)
            runs = until_s > 1_001.0
            assert (made.dropped, [a.index for a in kind.attempts]) == (([], [0, 1]) if runs else ([1], [0]))
            assert made.executor.started == len(kind.attempts)

    in_virtual_time(main())


def test_an_executor_is_idle_when_nothing_runs_and_nothing_waits() -> None:
    async def main() -> None:
        async with room(Scripted({})) as made:
            executor = made.executor
            states = [executor.idle]
            executor.submit(jobs({"s": 1.0}, {"s": 1.0}))
            states.append(executor.idle)  # two wait, and none runs
            assert states == [True, False]
            await asyncio.sleep(0.5)
            assert (executor.running, executor.waiting, executor.idle) == (1, 1, False)
            await asyncio.sleep(1.0)
            assert (executor.running, executor.waiting, executor.idle) == (1, 0, False)
            assert executor.last_start_s == 1.0
            await asyncio.sleep(1.0)
            assert executor.idle

    in_virtual_time(main())


@pytest.mark.parametrize(
    ("drain_s", "ends_s", "stopped"), [(10.0, 4.0, []), (2.5, 3.5, [1]), (0.5, 1.5, [0, 1])]
)
def test_a_drain_takes_as_long_as_its_last_task_and_no_longer_than_it_may(
    drain_s: float, ends_s: float, stopped: list[int]
) -> None:
    async def main() -> None:
        async with room(Scripted({}), slots=3) as made:
            made.executor.submit(jobs({"s": 0.5}, first=9) + jobs({"s": 3.0}, {"s": 4.0}))
            await asyncio.sleep(1.0)
            ended = await made.executor.stop(drain_s)
            assert asyncio.get_running_loop().time() == pytest.approx(ends_s)
            assert sorted(job.task.index for job in ended) == stopped
            assert all(job.outcome is None for job in ended)
            assert sorted(made.outcomes) == sorted({0, 1, 9} - set(stopped))

    in_virtual_time(main())


def test_nothing_is_begun_once_a_drain_has() -> None:
    async def main() -> None:
        kind = Scripted({})
        async with room(kind) as made:
            made.executor.submit(jobs({"s": 1.0}))
            await asyncio.sleep(0.5)
            stopping = asyncio.create_task(made.executor.stop(10.0))
            await asyncio.sleep(0.1)
            made.executor.submit(jobs({"s": 1.0}, first=1))
            assert await stopping == []
            assert [attempt.index for attempt in kind.attempts] == [0]

    in_virtual_time(main())


class Paced(Scripted):
    """Lets a task begin each second."""

    async def ready(self) -> None:
        await asyncio.sleep(1.0)


def test_a_task_that_is_withdrawn_while_its_kind_is_not_ready_is_not_begun() -> None:
    async def main() -> None:
        kind = Paced({})
        async with room(kind, slots=2) as made:
            made.executor.submit(jobs({}, {}, {}))
            await asyncio.sleep(0.5)
            assert made.executor.withdraw(2)[0].task.index == 1
            await asyncio.sleep(2.0)
            assert [attempt.index for attempt in kind.attempts] == [0]
            assert made.executor.idle
            made.executor.submit(jobs({}, first=7))
            await asyncio.sleep(1.5)
            assert sorted(made.outcomes) == [0, 7], "both slots go on"

    in_virtual_time(main())


class Making(Scripted):
    """Raises what a body `makes`, at once or as it is cancelled."""

    async def execute(self, body: Any, attempt: Attempt) -> Any:
        try:
            result = await super().execute(body, attempt)
        except asyncio.CancelledError:
            raise body.get("makes", asyncio.CancelledError()) from None
        if "makes" in body:
            raise body["makes"]
        return result


@pytest.mark.parametrize(
    ("body", "state", "error", "result"),
    [
        ({"fail": 9}, State.RETRY, "ValueError: attempt 1 fails", None),
        ({"s": 9.0}, State.RETRY, "timed out after 2.0 s", None),
        ({"s": 9.0, "makes": ValueError("gone")}, State.RETRY, "timed out after 2.0 s", None),
        ({"s": 9.0, "makes": KindError("killed", "half")}, State.RETRY, "killed", "half"),
        ({"makes": TimeoutError("no such host")}, State.RETRY, "TimeoutError: no such host", None),
        ({"makes": KindError("exit 1", "output")}, State.RETRY, "exit 1", "output"),
        ({"makes": KindError("exit 1", "output", is_final=True)}, State.FAILED, "exit 1", "output"),
        ({"makes": KindError("exit 1", "x" * 2_000)}, State.RETRY, "exit 1", None),
        ({"size": 2_000}, State.FAILED, "its result has 2034 bytes, and 1000 are allowed", None),
        ({"size": 967}, State.FAILED, "its result has 1001 bytes, and 1000 are allowed", None),
        ({"size": 966}, State.DONE, None, "x" * 966),
    ],
)
def test_what_an_attempt_comes_to(body: dict[str, Any], state: State, error: str | None, result: Any) -> None:
    async def main() -> None:
        async with room(Making({}), attempts=2, timeout_s=2.0) as made:
            made.executor.submit(jobs(body))
            await asyncio.sleep(5.0)
            came = made.outcomes[0]
            assert (came.state, came.error, came.result) == (state, error, result)
            assert made.executor.idle

    in_virtual_time(main())


class Lengths(Scripted):
    """Takes as many seconds as its body says."""

    async def execute(self, body: Any, attempt: Attempt) -> Any:
        await asyncio.sleep(body)


def test_how_long_tasks_take_is_known_lately_and_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with room(Lengths({})) as made:
            executor = made.executor
            assert (executor.mean_s, executor.took_s) == (None, 0.0)
            told: list[tuple[int, float]] = []
            monkeypatch.setattr(made.recorder, "ran", lambda tasks, each_s: told.append((tasks, each_s)))
            executor.submit(jobs(1.0, 2.0, 0.0))
            await asyncio.sleep(1.5)
            assert told == [(1, 1.0)]
            assert (executor.mean_s, executor.took_s) == pytest.approx((1.0, 1.0))
            await asyncio.sleep(3.0)
            assert (executor.mean_s, executor.took_s) == pytest.approx((0.8 * 1.2, 3.0))

    in_virtual_time(main())


def test_the_last_that_wait_are_withdrawn_in_their_order() -> None:
    async def main() -> None:
        async with room(Scripted({})) as made:
            some = jobs(*[{"s": 9.0}] * 5)
            random.Random(1).shuffle(some)
            made.executor.submit(some)
            assert made.executor.withdraw(2) == some[3:]
            assert made.executor.withdraw(9) == some[:3]
            assert made.executor.withdraw(1) == []

    in_virtual_time(main())


SPENT = ("task_cpu_s", "peak_bytes")


class Spending(Scripted):
    """Says what each attempt has used."""

    async def execute(self, body: Any, attempt: Attempt) -> Any:
        attempt.spent = body["spent"]
        return await super().execute(body, attempt)


@pytest.mark.parametrize(
    ("spent", "told"),
    [
        (None, []),
        (Spent(1.5), [{"task_cpu_s": 1.5}]),
        (Spent(1.5, 7), [{"task_cpu_s": 1.5, "peak_bytes": 7}]),
    ],
)
def test_what_an_attempt_has_used_is_recorded_where_its_kind_says_it(
    spent: Spent | None, told: list[dict[str, float]]
) -> None:
    async def main() -> None:
        async with room(Spending({}), attempts=1) as made:
            made.executor.submit(jobs({"spent": spent, "fail": 1}))
            await asyncio.sleep(1.0)
            made.recorder.flush()
            lines = [line for line in map(msgspec.json.decode, made.journal.lines) if line["e"] == "spent"]
            assert [{name: line[name] for name in line.keys() & set(SPENT)} for line in lines] == told
            assert made.events("spent") == [0] * len(told)

    in_virtual_time(main())


@pytest.mark.parametrize("fails", [False, True])
def test_slots_that_have_not_begun_are_not_left_behind(fails: bool) -> None:
    """Where the group fails before, or the executor is stopped."""

    async def main() -> None:
        made = Room(Instant(), slots=2)

        async def used() -> None:
            async with asyncio.TaskGroup() as group:
                made.executor.start(group)
                if fails:
                    raise ValueError("at once")
                assert await made.executor.stop(0.0) == []

        outcome = await asyncio.gather(used(), return_exceptions=True)
        assert [isinstance(each, ExceptionGroup) for each in outcome] == [fails]
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())
