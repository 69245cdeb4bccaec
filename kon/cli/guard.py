"""`--max-cost` and `--notify`: from the words on the command line to a guard over runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import click
import msgspec

from kon.cli.experiment import RunArguments
from kon.cli.output import note
from kon.core.errors import ConfigurationError
from kon.core.plugins import backend_class
from kon.core.spec import RunSpec
from kon.engine.records.records import RunFolder
from kon.experiment import Cell
from kon.launch.resume import origin
from kon.report.read.reader import Tail

if TYPE_CHECKING:  # the simulator takes a while to load
    from kon.backends.prices import Prices
    from kon.launch.budget import Spending
    from kon.launch.notice import Notices
    from kon.trials.plan.forecast import Forecast

_Command = TypeVar("_Command", bound=Callable[..., Any])


def cost_options(what: str) -> Callable[[_Command], _Command]:
    """Options of a command for a limit, the first parameters of `CostAndNotice`. what: their help."""
    options = [
        click.option("--max-cost", metavar="USD", help=what),
        click.option(
            "--instance", metavar="TYPE", help="With --max-cost: the hosts' type, to count their price too."
        ),
        click.option("--spot", is_flag=True, help="With --instance: count the price of spot hosts."),
    ]

    def add(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


notify_option = click.option(
    "--notify",
    metavar="TOPIC",
    help="Tell an SNS topic when a run ends: its ARN, or `fleet` for that of the fleet's alarms.",
)

REFUSE_AND_PAUSE: Final = (
    "Refuse a run that would cost more at Amazon, by `kon plan`; pause one that has cost so much."
)


class CostAndNotice(NamedTuple):
    """What a command line asks for in addition to runs: a limit on their cost, and word of their end."""

    max_cost: str | None
    instance: str | None
    spot: bool
    notify: str | None = None

    def flags(self) -> list[str]:
        """The words for a command line that goes on with what this one leaves."""
        words = [] if self.max_cost is None else ["--max-cost", self.max_cost]
        words += [] if self.instance is None else ["--instance", self.instance]
        words += ["--spot"] if self.spot else []
        return words if self.notify is None else [*words, "--notify", self.notify]

    def notices(self, specs: Sequence[RunSpec]) -> Notices | None:
        """Raises ConfigurationError for a text that names no topic."""
        if self.notify is None:
            return None
        from kon.launch.notice import Notices  # with boto3

        return Notices(self.notify, specs, note)

    def spending(
        self,
        asked: RunArguments | None,
        root: Path,
        specs: Sequence[RunSpec],
        *,
        apart: bool,
        rerun_failed: bool = False,
    ) -> Spending | None:
        """The limit on these runs below `root`; None where none was asked for.

        asked: where they come from; None where nobody knows. apart: their hosts are other machines.
        rerun_failed: of recorded runs, what is not done is to be run again.
        Raises ConfigurationError for what can't be meant, OverBudget where the runs would cost too much.
        """
        if self.max_cost is not None:
            left = {spec.run: _share_left(RunFolder(root / spec.run), spec, rerun_failed) for spec in specs}
            return _spending(self, asked, root, specs, left, apart=apart)
        if self.instance is not None or self.spot:
            raise ConfigurationError("--instance and --spot are for --max-cost")
        return None


def asked_before(folder: RunFolder) -> RunArguments | None:
    """What was asked for when a run was begun, where that would give the same run today."""
    run = folder.read_run()
    where = origin(run)
    if where is None:
        return None
    asked = RunArguments(Path(where.file), None, where.set, where.limit)
    try:
        same = any(cell.spec.key() == run.key for each in asked.load() for cell in each.cells())
    except ConfigurationError:
        return None
    return asked if same else None


def _spending(
    words: CostAndNotice,
    asked: RunArguments | None,
    root: Path,
    specs: Sequence[RunSpec],
    left: Mapping[str, float],
    *,
    apart: bool,
) -> Spending:
    """left: by a run's name, the share of its tasks that is to be run."""
    from kon.backends.prices import usual_prices
    from kon.launch.budget import Budget, Spending
    from kon.trials.plan.asked import parse_usd

    prices = usual_prices()
    most_usd = parse_usd(words.max_cost or "", "--max-cost")
    budget = Budget(most_usd, prices, _hour_usd(prices, words))
    budget.check_applies(specs)
    todo = [spec for spec in specs if left[spec.run]]
    if not todo:
        return Spending(budget, root, specs)
    forecasts = _forecasts(asked, todo, words, prices)
    elsewhere_usd = {run: each.usd - each.usd_by_service["EC2"] for run, each in forecasts.items()}
    spending = Spending(budget, root, specs, elsewhere_usd if apart else None)
    for _ in spending.read():
        pass
    counted_usd = elsewhere_usd if words.instance is None else {run: forecasts[run].usd for run in forecasts}
    budget.check([left[run] * usd for run, usd in counted_usd.items()], spending.usd(time.time()))
    return spending


def _hour_usd(prices: Prices, words: CostAndNotice) -> float | None:
    if words.instance is None:
        if words.spot:
            raise ConfigurationError("--spot: say which hosts, --instance TYPE")
        return None
    return prices.hour(words.instance) * (prices.ec2.spot_share if words.spot else 1.0)


def _share_left(folder: RunFolder, spec: RunSpec, rerun_failed: bool) -> float:
    if folder.finished:
        return 1.0 - folder.read_summary()["done"] / spec.tasks if rerun_failed else 0.0
    tail = Tail(folder, spec.tasks)
    while tail.news():
        pass
    return tail.tally.left / spec.tasks


def _forecasts(
    asked: RunArguments | None, todo: Sequence[RunSpec], words: CostAndNotice, prices: Prices
) -> dict[str, Forecast]:
    """By the runs' names. Nothing where nobody knows how long tasks take; a note says so."""
    from kon.trials.plan.forecast import Forecaster, Setting

    cells: dict[str, Cell] = {}
    if asked is None:
        note("no estimate of what it will cost, only a limit: what the run came from is not there as it was")
    else:
        simulated = msgspec.structs.replace(asked, overrides=[*asked.overrides, "backend=sim"])
        try:
            cells = {cell.spec.run: cell for each in simulated.load() for cell in each.cells()}
        except ConfigurationError as error:
            note(f"no estimate of what it will cost, only a limit: {str(error).splitlines()[-1]}")
    found, forecaster = {}, Forecaster(prices)
    for spec in todo:
        cell = cells.get(spec.run)
        if backend_class(spec.backend.name).virtual_time or cell is None:
            continue
        type_ = words.instance or next(iter(cell.spec.backend.options["latency"]["instances"]))
        found[spec.run] = forecaster.forecast(cell, Setting(spec.workers, type_, words.spot))
    return found
