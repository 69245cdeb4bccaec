"""A client that can't go on ends its run, and takes no receipt from a task by that."""

from __future__ import annotations

import asyncio
import errno
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import msgspec
import pytest

from kon.backends.memory.backend import MemoryLedger
from kon.core.backend import RequestCount
from kon.core.errors import BackendDenied, BackendUnavailable, ClientReplaced, WorkersFailed
from kon.core.spec import Plugin, RunSpec
from kon.core.task import State
from kon.engine.client import Client
from kon.engine.client_lease import ClientLease
from kon.engine.control import Control, Holder, RunState, Status, WorkerState
from kon.engine.records.records import RunFolder
from kon.engine.tally import Tally
from kon.launch import joined, liveness, local
from kon.launch.client_run import RunListener
from kon.launch.crew import RunWorkers
from kon.launch.local import LocalRun

TASKS: Final = 16


class Naps:
    """Tasks that take longer in all than a client takes to be denied something."""

    def bodies(self, workers: int) -> Iterable[Any]:
        return [0.5] * TASKS


class Denied(Client):
    """May take answers once, and then no more."""

    async def _answers(self, wanted: int, wait_s: float) -> int:
        if self.tally.left < TASKS:
            raise BackendDenied("these AWS credentials may not call sqs:ReceiveMessage")
        return await super()._answers(wanted, wait_s)


class Full(Client):
    """May write no more records after the first answers."""

    async def _answers(self, wanted: int, wait_s: float) -> int:
        if self.tally.left < TASKS:
            raise OSError(errno.ENOSPC, "No space left on device")
        return await super()._answers(wanted, wait_s)


class Noted(RunListener):
    """Keeps what a run says."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def _no_answers(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(local, "Client", Denied)


def _no_space(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(local, "Client", Full)


def _no_renewals(patch: pytest.MonkeyPatch) -> None:
    """The lease can't be renewed after the first answers. The client learns of it as it acks the next."""
    be_client = Control.be_client
    answered: list[int] = []

    class Answered(Client):
        async def _answers(self, wanted: int, wait_s: float) -> int:
            answered.append(TASKS - self.tally.left)
            return await super()._answers(wanted, wait_s)

    async def denied(self: Control, holder: Holder, token: str, over: str) -> Any:
        if max(answered, default=0):
            raise BackendDenied("these AWS credentials may not call dynamodb:PutItem")
        return await be_client(self, holder, token, over)

    patch.setattr(Control, "be_client", denied)
    patch.setattr(local, "Client", Answered)
    patch.setattr(local, "ClientLease", partial(ClientLease, lease_s=0.3))


def _replaced(patch: pytest.MonkeyPatch) -> None:
    """Another client takes the run over after the first answers. The renewal of the lease tells this one."""
    be_client = Control.be_client
    answered: list[int] = []

    class Waiting(Client):
        async def _answers(self, wanted: int, wait_s: float) -> int:
            answered.append(TASKS - self.tally.left)
            if max(answered):
                await asyncio.sleep(60.0)
            return await super()._answers(wanted, wait_s)

    async def taken(self: Control, holder: Holder, token: str, over: str) -> Any:
        if max(answered, default=0):
            return "other~1", msgspec.structs.replace(holder, host="bob")
        return await be_client(self, holder, token, over)

    patch.setattr(Control, "be_client", taken)
    patch.setattr(local, "Client", Waiting)
    patch.setattr(local, "ClientLease", partial(ClientLease, lease_s=0.3))


@pytest.mark.parametrize(
    ("deny", "reason"),
    [
        (_no_answers, "sqs:ReceiveMessage"),
        (_no_renewals, "dynamodb:PutItem"),
        (_no_space, "No space left"),
        (_replaced, "on bob, .* has taken the run over"),
    ],
)
def test_what_workers_hold_goes_back_and_is_done_once_the_client_can_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deny: Callable[[pytest.MonkeyPatch], None], reason: str
) -> None:
    """Each message may be received once: of those whose worker is killed every task would be dead."""
    spec = RunSpec(
        run="denied",
        experiment="denied",
        backend=Plugin("sqlite"),
        strategy=Plugin("lease", {"lease_s": 2.0, "skew_s": 0.1}),
        kind=Plugin("sleep"),
        tasks=TASKS,
        workers=2,
        slots=2,
        visibility_s=2.0,
        max_receives=1,
        drain_s=0.1,
    )
    listener = Noted()

    def run() -> Tally:
        folder = RunFolder(tmp_path / spec.run)
        return asyncio.run(LocalRun(folder, spec, Naps(), listener=listener).run())

    with monkeypatch.context() as patch:
        deny(patch)
        with pytest.raises((BackendDenied, ClientReplaced, OSError), match=reason):
            run()
    assert [note for note in listener.notes if "client can't go on" in note]
    events = Counter(line["e"] for _, line in RunFolder(tmp_path / spec.run).event_lines())
    assert events["stop"], "what ran was queued again"
    assert events["down"] == spec.workers
    assert run().counts[State.DONE] == TASKS


class Gone:
    """Workers that have ended."""

    outlives = True

    async def run(self) -> None:
        return


@pytest.mark.parametrize(("status", "fails"), [(Status.CLOSED, False), (Status.OPEN, True)])
def test_a_run_is_not_over_with_a_look_at_it_that_is_not_answered(
    status: Status, fails: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers end with each run. A table that does not answer just then is no reason to give up."""
    looks: list[int] = []

    class Away(Control):
        async def read(self) -> RunState:
            looks.append(len(looks))
            if len(looks) < 3:
                raise BackendUnavailable("DynamoDB does not answer")
            return RunState(status, TASKS, 0)

    monkeypatch.setattr(local, "LOOK_AGAIN_S", 0.0)
    spec = RunSpec("r", "r", Plugin("sqlite"), Plugin("lease"), Plugin("sleep"), TASKS, 1)
    run = LocalRun(RunFolder(tmp_path / "r"), spec, Naps())
    kept = run._kept(cast(RunWorkers, Gone()), Away(MemoryLedger(RequestCount())))
    with pytest.raises(WorkersFailed, match="were stopped from outside") if fails else nullcontext():
        asyncio.run(kept)
    assert len(looks) == 3


class AwayAtFirst(Control):
    """Answers at the third look."""

    looks = 0

    def _look(self) -> None:
        self.looks += 1
        if self.looks < 3:
            raise BackendUnavailable("DynamoDB does not answer")

    async def workers(self, limit: int = 10_000) -> list[WorkerState]:
        self._look()
        return []

    async def hosts_at_work(self, numbers: Sequence[int]) -> list[int]:
        self._look()
        return []


@pytest.mark.parametrize("apart", [False, True])
def test_nor_is_it_with_a_look_at_who_is_left(
    apart: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, pause in ((joined, "PAUSE_S"), (liveness, "ENDED_PAUSE_S")):
        monkeypatch.setattr(module, pause, 0.0)
    folder = RunFolder(tmp_path / "r")
    folder.write_run(RunSpec("r", "r", Plugin("sqlite"), Plugin("lease"), Plugin("sleep"), TASKS, 1), {})
    notes: list[str] = []
    hosts = joined.JoinedHosts(tmp_path, folder.read_run(), notes.append, apart=apart)
    control = AwayAtFirst(MemoryLedger(RequestCount()))
    asyncio.run(hosts._ended(control))
    assert (control.looks, notes) == (3, [])


def test_nor_with_a_look_at_whether_workers_are_ready(tmp_path: Path) -> None:
    class ReadyAtLast(AwayAtFirst):
        async def workers(self, limit: int = 10_000) -> list[WorkerState]:
            await super().workers()
            return [WorkerState("w1.1")]

    spec = RunSpec("r", "r", Plugin("sqlite"), Plugin("lease"), Plugin("sleep"), TASKS, 1)
    control = ReadyAtLast(MemoryLedger(RequestCount()))
    asyncio.run(LocalRun(RunFolder(tmp_path / "r"), spec, Naps())._until_ready(control))
    assert control.looks == 3


def test_nor_with_a_look_at_whether_hosts_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PAUSE_S", "FIRST_S"):
        monkeypatch.setattr(joined, name, 0.01 if name == "PAUSE_S" else 0.2)
    folder = RunFolder(tmp_path / "r")
    folder.write_run(RunSpec("r", "r", Plugin("sqlite"), Plugin("lease"), Plugin("sleep"), TASKS, 1), {})
    hosts = joined.JoinedHosts(tmp_path, folder.read_run(), lambda text: None, apart=False)
    control = AwayAtFirst(MemoryLedger(RequestCount()))
    with pytest.raises(WorkersFailed, match="no host has been at work"):
        asyncio.run(hosts._watch(control))
    assert control.looks > 3


def _without_an_answer_at_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[LocalRun, Control]:
    """A run that is under way, whose control table answers each question at the third time."""
    asked = Counter[str]()

    class Silent(Control):
        async def read(self) -> RunState:
            self._count("read")
            return await super().read()

        async def close(self, status: Status) -> None:
            self._count("close")
            await super().close(status)

        def _count(self, what: str) -> None:
            asked[what] += 1
            if asked[what] < 3:
                raise BackendUnavailable("DynamoDB does not answer")

    monkeypatch.setattr(local, "LOOK_AGAIN_S", 0.0)
    spec = RunSpec("r", "r", Plugin("sqlite"), Plugin("lease"), Plugin("sleep"), TASKS, 1)
    run, control = LocalRun(RunFolder(tmp_path / "r"), spec, Naps()), Silent(MemoryLedger(RequestCount()))
    run._control, run._hosts = control, cast(joined.JoinedHosts, object())
    return run, control


def test_who_waits_until_all_is_queued_asks_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that ends leaves its run to the workers then; else it would wait for the run's end."""
    run, control = _without_an_answer_at_first(tmp_path, monkeypatch)

    async def main() -> None:
        await control.submitted(TASKS)
        await run.submitted()

    asyncio.run(main())


def test_a_run_is_cancelled_as_soon_as_its_table_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its workers have ended by then: its client would wait for ever for what they had left."""
    run, control = _without_an_answer_at_first(tmp_path, monkeypatch)

    async def main() -> Status:
        await run.cancel()
        with suppress(BackendUnavailable):
            await control.read()
        with suppress(BackendUnavailable):
            await control.read()
        return (await control.read()).status

    assert asyncio.run(main()) is Status.CANCELLED
