"""Tasks that cancel, or are cancelled, in whatever way: no slot ends unheard, and the worker knows why."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

import pytest

from kon.core.errors import StoreError, first_cause
from kon.core.kind import Attempt
from kon.core.objects import ObjectStore
from kon.core.queue import Message
from kon.core.task import Bundle, Segment, State, Task, decode_bundle, encode
from kon.strategies.lease import Lease
from tests.engine.auto import PAGED
from tests.engine.world import Scripted, World, in_virtual_time


class Cancelled(Scripted):
    """Its tasks raise what would cancel them, at once or as they are cancelled."""

    async def execute(self, body: Any, attempt: Attempt) -> Any:
        await super().execute(body, attempt)
        raise asyncio.CancelledError("by itself")


def test_a_task_that_raises_what_would_cancel_it_has_failed_and_its_slot_goes_on() -> None:
    """As an await of something that was cancelled does. Its slot ended unheard, and the run never."""

    async def main() -> None:
        world = await World.create(3, attempts=2, slots=1, visibility_s=5.0, backoff_s=0.1)
        tally = await asyncio.wait_for(world.run([{}] * 3, world.worker(kind=Cancelled({}))), 300.0)
        assert tally.counts[State.FAILED] == 3
        assert {(each.attempt, each.error) for each in world.recorded().values()} == {
            (2, "CancelledError: by itself")
        }

    in_virtual_time(main())


def test_a_task_that_raises_it_while_its_worker_drains_has_failed_as_well() -> None:
    async def main() -> None:
        world = await World.create(1, attempts=1, drain_s=20.0)
        await world.send({"s": 10.0})
        running = asyncio.create_task((worker := world.worker(kind=Cancelled({}))).run())
        await asyncio.sleep(5.0)
        worker.stop()
        await running
        assert [each.state for each in await world.answers()] == [State.FAILED]

    in_virtual_time(main())


class Untidy(Scripted):
    """Makes something else of its cancellation: an error of its own, or a result."""

    async def execute(self, body: Any, attempt: Attempt) -> Any:
        try:
            return await super().execute(body, attempt)
        except asyncio.CancelledError:
            if body.get("swallows"):
                return "as far as it came"
            raise ValueError("the connection is gone") from None


def test_what_a_task_raises_as_it_is_stopped_is_no_failure() -> None:
    async def main() -> None:
        world = await World.create(1, attempts=1, drain_s=1.0)
        await world.send({"s": 30.0})
        running = asyncio.create_task((worker := world.worker(kind=Untidy({}))).run())
        await asyncio.sleep(5.0)
        worker.stop()
        await running
        assert await world.answers() == []
        [again] = await world.channel.tasks.receive(10, 0.0)
        assert decode_bundle(again.body).tasks == [Task(0, {"s": 30.0}, attempt=2)]

    in_virtual_time(main())


@pytest.mark.parametrize("body", [{"s": 30.0}, {"s": 30.0, "swallows": True}])
def test_a_worker_that_can_not_go_on_ends_whatever_its_tasks_make_of_that(body: dict[str, Any]) -> None:
    """The slot went on to the next task, and the worker never ended."""

    async def main() -> None:
        world = await World.create(3, slots=1, bundle=3, visibility_s=6.0)
        await world.send(body, body, body, bundle=True)

        async def fails(*args: object) -> list[bool]:
            raise StoreError("the disk is full")

        world.channel.tasks.extend = fails  # type: ignore[method-assign,assignment]
        with pytest.raises(BaseExceptionGroup, match="unhandled errors"):
            await asyncio.wait_for(world.worker(kind=Untidy({})).run(), 1_000.0)
        assert world.tasks_of("start") == [0]

    in_virtual_time(main())


class CancelsItself(Scripted):
    """Cancels the slot that it runs in and takes that for its own, as old cancel scopes do. It may end before
    it has heard of it."""

    async def execute(self, body: Any, attempt: Attempt) -> Any:
        slot = asyncio.current_task()
        assert slot is not None
        assert slot.cancelling() == 0, "nothing is left of the task before"
        slot.cancel()
        if body["hears"]:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0)
        return "done"


@pytest.mark.parametrize("hears", [True, False])
def test_a_slot_goes_on_after_a_task_that_cancels_it(hears: bool) -> None:
    """The slot ended unheard, and the run never."""

    async def main() -> None:
        world = await World.create(4)
        tally = await world.run([{"hears": hears}] * 4, world.worker(kind=CancelsItself({})))
        assert tally.counts[State.DONE] == 4

    in_virtual_time(main())


class OnceUnready(Scripted):
    """Ends the first of its worker's slots outside of any task."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__(options)
        self.is_asked = False

    async def ready(self) -> None:
        if not self.is_asked:
            self.is_asked = True
            raise asyncio.CancelledError


@pytest.mark.parametrize("slots", [1, 2])
def test_a_worker_ends_with_an_error_where_one_of_its_slots_ends_by_itself(slots: int) -> None:
    async def main() -> None:
        world = await World.create(1, slots=slots)
        await world.send({})
        with pytest.raises(ExceptionGroup) as raised:
            await world.worker(kind=OnceUnready({})).run()
        assert str(first_cause(raised.value)) == "a worker's slot ended by itself"

    in_virtual_time(main())


class Cancels(Lease):
    """Is cancelled in one of its calls: by an error of its own, or with the task that makes the call."""

    def __init__(self, *args: Any, call: str, whole: bool) -> None:
        super().__init__(*args)

        async def cancelled(*args: Any) -> Any:
            if whole:
                caller = asyncio.current_task()
                assert caller is not None
                caller.cancel()
                await asyncio.sleep(0)
            raise asyncio.CancelledError

        setattr(self, call, cancelled)


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize(
    ("call", "task"),
    [("admit", "receiving"), ("commit", "settler"), ("renew", "heartbeat"), ("release", "give-back")],
)
def test_a_worker_ends_with_an_error_where_its_strategy_cancels_a_call(
    call: str, task: str, whole: bool
) -> None:
    """The call's task ended unheard: nothing more was received, settled, renewed or given back."""

    async def main() -> None:
        world = await World.create(100, **PAGED, visibility_s=6.0, workers=2)
        tasks = [Task(index, {"s": 0.01 if index < 2 else 100.0}) for index in range(100)]
        await world.channel.tasks.send([Message(encode(Bundle("r", tasks, segment=Segment(0, 100, 100))))])
        worker = world.worker(strategy=Cancels, call=call, whole=whole)
        with pytest.raises(ExceptionGroup) as raised:
            await asyncio.wait_for(worker.run(), 1_000.0)
        assert str(first_cause(raised.value)) == f"a worker's {task} was cancelled by what it called"

    in_virtual_time(main())


def test_a_worker_ends_with_an_error_where_its_strategy_cancels_as_it_drains() -> None:
    async def main() -> None:
        world = await World.create(8, bundle=8, drain_s=1.0)
        await world.send(*[{"s": 20.0}] * 8, bundle=True)
        worker = world.worker(strategy=Cancels, call="release", whole=False)
        running = asyncio.create_task(worker.run())
        await asyncio.sleep(5.0)
        worker.stop()
        with pytest.raises(ExceptionGroup) as raised:
            await asyncio.wait_for(running, 1_000.0)
        assert str(first_cause(raised.value)) == "a worker's drain was cancelled by what it called"

    in_virtual_time(main())


class Unopened(Scripted):
    """Is cancelled as it is opened or closed."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__(options)
        self._opens = options["opens"]

    async def open(self, objects: ObjectStore) -> None:
        if not self._opens:
            raise asyncio.CancelledError

    async def close(self) -> None:
        await super().close()
        if self._opens:
            raise asyncio.CancelledError


@pytest.mark.parametrize("opens", [False, True])
def test_a_worker_whose_kind_is_cancelled_as_it_opens_or_closes_ends_with_an_error(
    opens: bool,
) -> None:
    """With several in one process, it would seem to have done its work."""

    async def main() -> None:
        world = await World.create(1)
        worker = world.worker(kind=Unopened({"opens": opens}))
        worker.stop()
        with pytest.raises(RuntimeError, match=r"open\(\) or close\(\) of the kind was cancelled"):
            await worker.run()

    in_virtual_time(main())


def test_a_worker_that_is_cancelled_is_cancelled_and_says_nothing_of_an_end() -> None:
    async def main() -> None:
        world = await World.create(1)
        await world.send({"s": 30.0})
        running = asyncio.create_task(world.worker().run())
        await asyncio.sleep(5.0)
        running.cancel()
        await asyncio.wait({running})
        assert running.cancelled()
        assert (world.tasks_of("start"), world.events("down")) == ([0], [])

    in_virtual_time(main())
