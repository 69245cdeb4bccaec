"""The control table: what clients and workers say in it, and how it is read in parts."""

from __future__ import annotations

import random

import pytest

from kon.backends.memory.backend import MemoryLedger
from kon.core.backend import RequestCount
from kon.core.ledger import Record
from kon.core.task import Segment
from kon.engine import control as control_table
from kon.engine.control import (
    Control,
    Holder,
    OtherKon,
    RightDenied,
    Roll,
    RunState,
    Status,
    Window,
    WorkerState,
)
from tests.engine.auto import spec
from tests.engine.world import in_virtual_time

ME, OTHER = Holder("here", 1, "", 5.0, 35.0), Holder("there", 2, "", 6.0, 36.0)


SPEC = spec()


def table() -> MemoryLedger:
    return MemoryLedger(RequestCount())


@pytest.mark.parametrize("windows", [0, 1, 99, 100, 101, 250])
@pytest.mark.parametrize("workers", [0, 1, 120])
def test_all_segments_are_found_and_no_worker_is_taken_for_one(windows: int, workers: int) -> None:
    async def main() -> None:
        control, rng = Control(table()), random.Random(1)
        for n in range(workers):
            await control.register(WorkerState(f"w{n}"), rng)
        for n in range(windows):
            await control.plan(Window(10 * n, 10 * n + 10, 5, n))
        assert await control.segments() == [Segment(10 * n, 10 * n + 10, 5) for n in range(windows)]
        assert len(await control.workers()) == workers

    in_virtual_time(main())


@pytest.mark.parametrize("workers", [0, 2, 3, 4, 7])
def test_workers_beyond_one_look_are_told_too(workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A resumed run ends those of its last client: with the first part alone, others would go on."""
    monkeypatch.setattr(control_table, "_WORKERS_AT_ONCE", 3)

    async def main() -> None:
        control, rng = Control(table()), random.Random(1)
        for n in range(workers):
            await control.register(WorkerState(f"w{n}"), rng)
        assert sorted(worker.name for worker in await control.workers()) == [f"w{n}" for n in range(workers)]

    in_virtual_time(main())


def test_tasks_without_pages_have_no_segment() -> None:
    async def main() -> None:
        control = Control(table())
        for rows in (0, 1):
            await control.plan(Window(10 * rows, 10 * rows + 10, rows, 0))
            assert await control.planned() == Window(10 * rows, 10 * rows + 10, rows, 0)
        assert await control.segments() == []

    in_virtual_time(main())


def test_what_a_client_has_begun_is_there_for_the_next() -> None:
    async def main() -> None:
        control = Control(table())
        assert await control.begun() == (0, None)
        assert await control.read() == RunState(Status.OPEN, 0, 0)
        assert not await control.is_over()
        await control.submitted(70)
        await control.plan(Window(70, 90, 2, 7))
        assert await control.begun() == (70, Window(70, 90, 2, 7))
        assert await control.call_roll() == 1
        await control.close(Status.CANCELLED)
        assert await control.read() == RunState(Status.CANCELLED, 70, 1)
        assert await control.is_over()

    in_virtual_time(main())


@pytest.mark.parametrize(
    ("window", "tasks"),
    [(None, 1.0), (Window(0, 90, 20, 0), 20.0), (Window(0, 90, 0, 0), 1.0), (Window(90, 120, 20, 12), 7.5)],
)
def test_how_many_tasks_a_message_has_had(window: Window | None, tasks: float) -> None:
    async def main() -> None:
        control = Control(table())
        if window is not None:
            await control.plan(window)
        assert await control.tasks_per_message() == tasks

    in_virtual_time(main())


class LosesReplies(MemoryLedger):
    """Each write meets its own first try, as where a reply was lost."""

    async def insert_new(self, records: list[Record]) -> list[Record | None]:  # type: ignore[override]
        await super().insert_new(records)
        return await super().insert_new(records)


@pytest.mark.parametrize("made", [MemoryLedger, LosesReplies])
def test_one_holder_is_the_client_and_knows_its_own_write(made: type[MemoryLedger]) -> None:
    async def main() -> None:
        control = Control(made(RequestCount()))
        assert await control.client() == ("", None)
        assert await control.be_client(ME, "a", "") is None
        assert await control.client() == ("a", ME)
        assert await control.be_client(OTHER, "b", "") == ("a", ME)
        assert await control.be_client(OTHER, "b", "x") == ("a", ME)
        assert await control.be_client(OTHER, "b", "a") is None
        await control.no_client("a")
        assert await control.client() == ("b", OTHER)
        await control.no_client("b")
        assert await control.client() == ("", None)
        assert await control.be_client(ME, "c", "b") == ("", None), "whom it would replace has gone"
        assert await control.be_client(ME, "c", "") is None

    in_virtual_time(main())


@pytest.mark.parametrize("more", [0, 99, 250])
def test_a_roll_counts_who_holds_who_is_silent_and_who_ever_came(more: int) -> None:
    async def main() -> None:
        control, rng = Control(table()), random.Random(1)
        states = [
            WorkerState("holds", roll=3, holds=2),
            WorkerState("held at the last call", roll=2, holds=2),
            WorkerState("has nothing", roll=3),
            WorkerState("later", roll=4, holds=1),
            WorkerState("gone", roll=3, holds=2, gone=True),
            *[WorkerState(f"w{n}", roll=3) for n in range(more)],
        ]
        for state in states:
            await control.register(state, rng)
        assert await control.roll(3) == Roll(2, 1, 5 + more)

    in_virtual_time(main())


def test_what_a_client_publishes_is_what_hosts_read() -> None:
    async def main() -> None:
        control = Control(table())
        told = (await control.published(), await control.published_by(), await control.begun_s())
        assert told == (None, "", None)
        await control.publish(SPEC, "1.2.3", 17.5)
        told = (await control.published(), await control.published_by(), await control.begun_s())
        assert told == (SPEC, "1.2.3", 17.5)

    in_virtual_time(main())


def test_each_host_says_whether_it_is_at_work_or_why_it_is_not() -> None:
    async def main() -> None:
        control = Control(table())
        other = OtherKon(3, "1.0", "2.0")
        denied = RightDenied(4, "2.0", "may not call sqs:SendMessage", 9.0)
        await control.host(1, at_work=True)
        await control.host(2, at_work=False)
        await control.refuse(other)
        await control.refuse(denied)
        assert await control.hosts_at_work(range(6)) == [1]
        assert await control.refusals(range(6), "2.0") == [other, denied]
        assert await control.refusals(range(6), "3.0") == []
        assert await control.refusals([1, 3], "2.0") == [other]

    in_virtual_time(main())
