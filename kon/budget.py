"""A limit on what a campaign may cost at Amazon (`kon run --max-cost`): refused ahead, or stopped on the way.

What was spent is what client and workers say that was billed, and the hosts' time. Nothing is lost by a stop:
workers give back what they have not done, and the same command goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import msgspec

from kon.campaign import Campaign
from kon.errors import BackendUnavailable, ConfigurationError, KonError, StoreError
from kon.events import Event
from kon.local import LocalRun
from kon.plan.forecast import Forecast
from kon.prices import Prices, cost_of_requests
from kon.records import RunFolder
from kon.report.growing import Growing, Rewritten
from kon.resume import pause

LOOK_S: Final = 5.0
"""Between two looks at what was spent, in seconds."""

_READ_BYTES: Final = 1 << 24
_CLIENT: Final = "client.jsonl"


class OverBudget(KonError):
    """A run would cost more than it may, or has done so."""

    exit_code: ClassVar[int] = 4


class Budget(msgspec.Struct, frozen=True):
    """most_usd: in all. hour_usd: of one host; None where hosts are not paid for."""

    most_usd: float
    prices: Prices
    hour_usd: float | None = None

    def of(self, forecast: Forecast) -> float:
        """What of a forecast counts."""
        hosts_usd = forecast.usd_by_service["EC2"]
        return forecast.usd if self.hour_usd is not None else forecast.usd - hosts_usd

    def check(self, forecasts: Sequence[Forecast], spent_usd: float) -> None:
        """Raises OverBudget where what is still to be run would cost too much."""
        wanted_usd = sum(self.of(each) for each in forecasts)
        if spent_usd + wanted_usd > self.most_usd:
            before = f", after ${spent_usd:.4f} that earlier ones cost" if spent_usd else ""
            raise OverBudget(
                f"{len(forecasts)} runs would cost about ${wanted_usd:.4f}{before}, and --max-cost is "
                f"${self.most_usd:g}; nothing was begun. `kon plan` says what would cost less; a larger "
                "--max-cost lets them begin"
            )


class Spent:
    """What one run has cost so far, by its records; read on as they grow."""

    def __init__(self, folder: RunFolder, hosts: int, budget: Budget) -> None:
        self._folder = folder
        self._hosts = hosts
        self._budget = budget
        self._files: dict[Path, Growing] = {}
        self._told: dict[tuple[str, str], dict[str, float]] = {}
        self._begun_s: float | None = None
        self._up_s = 0.0

    def usd(self, now_s: float) -> float:
        """now_s: seconds since the epoch."""
        for file in self._folder.events.glob("*.jsonl"):
            self._read(file)
        billed: dict[str, float] = {}
        for told in self._told.values():
            for name, amount in told.items():
                billed[name] = billed.get(name, 0.0) + amount
        requests_usd = sum(cost_of_requests(billed, self._budget.prices).values())
        if self._budget.hour_usd is None:
            return requests_usd
        up_s = self._up_s + (0.0 if self._begun_s is None else max(0.0, now_s - self._begun_s))
        return requests_usd + up_s * self._hosts * self._budget.hour_usd / 3600.0

    def _read(self, file: Path) -> None:
        growing = self._files.setdefault(file, Growing(file))
        try:
            while lines := growing.read(_READ_BYTES):
                for line in lines.splitlines():
                    if b'"billed"' in line or file.name == _CLIENT:
                        self._take(file.name, line)
        except Rewritten:
            self._files.pop(file)

    def _take(self, file: str, line: bytes) -> None:
        try:
            event = _events.decode(line)
        except msgspec.DecodeError:
            return  # half a line of a killed process
        if file == _CLIENT:
            # each of its lives says at its end what it used in all
            if event.e == Event.OPEN:
                self._begun_s = event.t
                self._told[file, str(event.t)] = event.billed
            elif event.e in (Event.USAGE, Event.CLOSE) and self._begun_s is not None:
                self._told[file, str(self._begun_s)] = event.billed
                self._up_s += max(0.0, event.t - self._begun_s)
                self._begun_s = None
        else:
            self._told[file, event.w] = event.billed  # a life says what it has used so far


class _Line(msgspec.Struct):
    e: str
    t: float = 0.0
    w: str = ""
    billed: dict[str, float] = {}


_events: Final = msgspec.json.Decoder(_Line)


async def within(
    budget: Budget,
    campaign: Campaign,
    work: Coroutine[Any, Any, list[dict[str, Any]]],
    now_s: Callable[[], float],
    workers_usd: Callable[[LocalRun], float] = lambda run: 0.0,
    look_s: float = LOOK_S,
) -> list[dict[str, Any]]:
    """The rows of a campaign, whose `work` this is. Raises OverBudget once it has cost too much: then it is
    paused.

    workers_usd: what requests of workers elsewhere are thought to have cost.
    """
    task = asyncio.create_task(work)
    meters: dict[str, Spent] = {}
    try:
        while not (await asyncio.wait({task}, timeout=look_s))[0]:
            usd = 0.0
            for cell in campaign.cells:
                folder = campaign.folder(cell)
                if folder.exists:
                    meter = meters.setdefault(cell.spec.run, Spent(folder, cell.spec.workers, budget))
                    usd += await asyncio.to_thread(meter.usd, now_s())
            current = campaign.current
            if current is not None and usd + workers_usd(current) >= budget.most_usd:
                await _stop(current, task)
                raise OverBudget(
                    f"${usd + workers_usd(current):.4f} are spent, and --max-cost is ${budget.most_usd:g}: "
                    f"the run {current.spec.run} is paused, and its workers have been told to stop. Nothing "
                    "is lost: the same command with a larger --max-cost goes on"
                )
    except asyncio.CancelledError:
        task.cancel()
        return await task  # whoever cancelled this meant the work
    return task.result()


async def _stop(run: LocalRun, task: asyncio.Task[Any]) -> None:
    """Have workers give back what they have not done, wherever they are, and end the client."""
    try:
        await pause(run.folder)
    except (StoreError, BackendUnavailable) as error:
        raise ConfigurationError(
            f"the run {run.spec.run} has cost more than --max-cost, and can't be paused: {error}. Its "
            "workers may go on: end them"
        ) from error
    finally:
        detached = run.detach()
        task.cancel()
        await asyncio.wait({task})
    if detached:
        run.stop_workers()
        await run.workers_ended()
