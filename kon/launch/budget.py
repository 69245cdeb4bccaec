"""A limit on what runs may cost at Amazon (`--max-cost`): refused ahead, or stopped on the way.

What was spent is what client and workers say that was billed, and the hosts' time. Nothing is lost by a stop:
workers give back what they have not done, and the same command goes on.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from kon.backends.prices import Prices, cost_of_requests
from kon.core.errors import BackendUnavailable, ConfigurationError, OverBudget, StoreError, counted
from kon.core.journal import decode_lines, leave_out
from kon.core.plugins import backend_class
from kon.core.spec import RunSpec
from kon.core.task import CLIENT
from kon.engine.records.events import Event
from kon.engine.records.records import RunFolder
from kon.launch.client_run import ClientRun
from kon.launch.resume import pause
from kon.report.read.lines import EVENTS, STATES, EventLine, Told, tasks_of
from kon.report.read.reader import GrowingRun, Rewritten

SPENDING_PAUSE_S: Final = 5.0
"""Between two looks at what was spent, in seconds."""

_READ_BYTES: Final = 1 << 20

_Result = TypeVar("_Result")


class Budget(msgspec.Struct, frozen=True):
    """most_usd: in all, more than 0. hour_usd: of one host; None where hosts are not paid for.

    option: what whoever set it calls it.
    """

    most_usd: float
    prices: Prices
    hour_usd: float | None = None
    option: str = "--max-cost"

    def check_applies(self, specs: Sequence[RunSpec]) -> None:
        """Raises ConfigurationError for what limits nothing."""
        if self.most_usd <= 0:
            raise ConfigurationError(f"{self.option}: expected more than 0")
        if self.hour_usd is None and not any(spec.backend.name == "aws" for spec in specs):
            hosts = ", or say which hosts: --instance t3.micro" if self.option.startswith("--") else ""
            raise ConfigurationError(
                f"{self.option}: nothing of this is paid for, as no backend is aws"
                f"{' and no host was named' if hosts else ''}; leave it out{hosts}"
            )

    def check(self, wanted_usd: Sequence[float], spent_usd: float) -> None:
        """Raises OverBudget where what is still to be run, `wanted_usd` each, would cost too much."""
        in_all_usd = sum(wanted_usd)
        if spent_usd + in_all_usd > self.most_usd:
            what = f"{counted(len(wanted_usd), 'run')} would cost about ${in_all_usd:.4f}"
            before = f", after ${spent_usd:.4f} that was spent before" if spent_usd else ""
            hint = "`kon plan` says what would cost less; " if wanted_usd else ""
            raise OverBudget(
                f"{what if wanted_usd else 'more is to be run'}{before}, and {self.option} is "
                f"${self.most_usd:g}; nothing was begun. {hint}a larger {self.option} lets it begin"
            )


class Spending:
    """What runs below one folder have cost so far, by their records; read on as they grow.

    elsewhere_usd: by a run's name, what the requests of all its hosts are thought to cost, where these are
        on other machines and keep their records until they have ended.
    """

    def __init__(
        self,
        budget: Budget,
        root: Path,
        specs: Sequence[RunSpec],
        elsewhere_usd: Mapping[str, float] | None = None,
    ) -> None:
        self.budget = budget
        paid = [spec for spec in specs if not backend_class(spec.backend.name).virtual_time]
        self._runs = [RunCost(RunFolder(root / spec.run), spec, budget) for spec in paid]
        for run in self._runs:
            run.elsewhere_usd = (elsewhere_usd or {}).get(run.spec.run)

    def read(self) -> Iterator[None]:
        """Read what has been recorded, a part at a time, so that a loop may do other things in between."""
        for run in self._runs:
            yield from run.read()

    def usd(self, now_s: float, current: ClientRun | None = None) -> float:
        """Dollars for what has been read. now_s: seconds since the epoch.

        current: the run that is under way here; its client's records say what it was billed at its end.
        """
        live = {} if current is None else {current.spec.run: current.billed}
        return sum(run.usd(now_s, live.get(run.spec.run)) for run in self._runs)


class RunCost:
    """What one run has cost so far; see Spending."""

    def __init__(self, folder: RunFolder, spec: RunSpec, budget: Budget) -> None:
        self.spec = spec
        self.elsewhere_usd: float | None = None
        self._folder = folder
        self._budget = budget
        self._answered: _Answered | None = None
        self._fetched = 0
        self._begin()

    def _begin(self) -> None:
        self._records = GrowingRun(self._folder)
        self._told: dict[tuple[str, str], Mapping[str, float]] = {}
        self._begun_s: float | None = None
        self._up_s = 0.0
        self._hosts_told = False

    def read(self) -> Iterator[None]:
        if not self._folder.exists:
            return
        yield from self._read_events()
        if self.elsewhere_usd is not None:
            yield from self._read_answers()

    def usd(self, now_s: float, client_billed: Mapping[str, float] | None = None) -> float:
        """client_billed: by the life of the client that goes on; None where there is none."""
        if self._begun_s is not None and client_billed is not None:
            self._told[CLIENT, str(self._begun_s)] = client_billed
        billed: dict[str, float] = {}
        for told in self._told.values():
            for name, amount in told.items():
                billed[name] = billed.get(name, 0.0) + amount
        usd = sum(cost_of_requests(billed, self._budget.prices).values())
        if self._answered is not None and self.elsewhere_usd is not None:
            usd += self.elsewhere_usd * (self._answered.times - self._fetched) / self.spec.tasks
        if self._budget.hour_usd is not None:
            up_s = self._up_s + (0.0 if self._begun_s is None else max(0.0, now_s - self._begun_s))
            usd += up_s * self.spec.workers * self._budget.hour_usd / 3600.0
        return usd

    def _read_events(self) -> Iterator[None]:
        more = True
        try:
            while more:
                more = False
                for stem, lines in self._records.events(_READ_BYTES):
                    more = True
                    self._take(stem, lines)
                    yield
        except Rewritten:  # what was counted can't be told from what is there now
            self._begin()

    def _take(self, stem: str, lines: bytes) -> None:
        if stem != CLIENT:
            self._hosts_told = True
            lines = b"\n".join(line for line in lines.splitlines() if b'"billed"' in line)
        for line in decode_lines(lines, EVENTS, leave_out):
            if stem == CLIENT:
                self._take_client(line)
            else:  # a life says what it has used so far
                self._told[stem, line.w or ""] = line.billed or {}

    def _take_client(self, line: EventLine) -> None:
        """Each life of the client says at its end what it used in all."""
        if line.e == Event.OPEN:
            self._begun_s = line.t
            self._told[CLIENT, str(line.t)] = line.billed or {}
        elif line.e in (Event.USAGE, Event.CLOSE) and self._begun_s is not None:
            self._told[CLIENT, str(self._begun_s)] = line.billed or {}
            self._up_s += max(0.0, line.t - self._begun_s)
            self._begun_s = None

    def _read_answers(self) -> Iterator[None]:
        first = self._answered is None
        if self._answered is None:
            self._answered = _Answered(self._folder, self.spec.tasks)
        yield from self._answered.read()
        if first and self._hosts_told:
            # hosts' records are here, of a part that was run before: they say what that cost
            self._fetched = self._answered.times


class _Answered:
    """How many times tasks were answered, in all rounds: what is run again costs again."""

    def __init__(self, folder: RunFolder, tasks: int) -> None:
        self.times = 0
        self._folder = folder
        self._records = GrowingRun(folder)
        self._attempts = array("H", bytes(2 * tasks))
        """The highest attempt of each task that was answered."""

    def read(self) -> Iterator[None]:
        with suppress(Rewritten):  # whoever removed the run has no more to say
            while lines := self._records.results(_READ_BYTES):
                with tasks_of(len(self._attempts), self._folder.results):
                    for packet in decode_lines(lines, STATES, leave_out):
                        if packet.worker != CLIENT:  # which gives tasks up, or records again what is to stay
                            self._count(packet.outcomes)
                yield

    def _count(self, outcomes: Sequence[Told]) -> None:
        attempts = self._attempts
        for outcome in outcomes:
            if outcome.attempt > attempts[outcome.index]:
                attempts[outcome.index] = outcome.attempt
                self.times += 1


async def within(
    spending: Spending,
    current: Callable[[], ClientRun | None],
    work: Coroutine[Any, Any, _Result],
    now_s: Callable[[], float],
) -> _Result:
    """The result of `work`. Raises OverBudget once too much is spent: then the `current` run is paused."""
    budget = spending.budget
    task = asyncio.create_task(work)
    try:
        while not (await asyncio.wait({task}, timeout=SPENDING_PAUSE_S))[0]:
            for _ in spending.read():
                await asyncio.sleep(0)
            run = current()
            usd = spending.usd(now_s(), run)
            if run is not None and usd >= budget.most_usd:
                await _stop(run, task, budget)
                raise OverBudget(
                    f"${usd:.4f} are spent, and {budget.option} is ${budget.most_usd:g}: the run "
                    f"{run.spec.run} is paused, and its workers have been told to stop. Nothing is lost: "
                    f"begun again with a larger {budget.option}, it goes on"
                )
    except asyncio.CancelledError:
        task.cancel()
        return await task  # whoever cancelled this meant the work
    except BaseException:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        raise
    return task.result()


async def _stop(run: ClientRun, task: asyncio.Task[Any], budget: Budget) -> None:
    """Have workers give back what they have not done, wherever they are, and end the client."""
    # its own workers are told by the run, once: a second SIGTERM would end them with what they are at
    detached = run.detach()
    try:
        if backend_class(run.spec.backend.name).processes:
            await pause(run.folder, tell=not detached)
    except (StoreError, BackendUnavailable) as error:
        raise ConfigurationError(
            f"the run {run.spec.run} has cost more than {budget.option}, and can't be paused: {error}. "
            "Workers elsewhere may go on: end them"
        ) from error
    finally:
        if detached:
            run.stop_workers()
        task.cancel()
        await asyncio.wait({task})
    if detached:
        await run.workers_ended()
