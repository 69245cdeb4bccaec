"""The tables of docs/cloudkon.md: `python -m benchmarks.cloudkon [--write]`, a few minutes of one core.

kon's rows are whole simulations of workloads/cloudkon-2014.yml. The older systems' rows are a loop as
theirs was, one call for each step in turn, on the same simulated services. What was measured elsewhere
stands beside them, with its source.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from tabulate import tabulate

from benchmarks.published import A_REMOTE, PAPER, SHEET
from kon.backends.sim.backend import SimBackend
from kon.backends.sim.fleet import Fleet
from kon.backends.sim.loop import SimLoop, simulate
from kon.backends.sim.model import ServiceChoice
from kon.backends.sim.network import Network
from kon.core.backend import Channel, ChannelOptions
from kon.core.ledger import Record
from kon.core.queue import Message
from kon.core.task import State
from kon.experiment import Experiment, load
from kon.experiment.load import read_prices
from kon.experiment.models import FOLDER, read_model
from kon.report.columns import rounded
from kon.trials.plan.forecast import Forecast, Forecaster, Setting
from kon.trials.plan.table import duration, usd

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs" / "cloudkon.md"

WHOLE: Final = 10**9
"""Tasks of a sample: none is that large, so that all are simulated."""


# --- the older systems' loop --------------------------------------------------------------------------


async def _worker(channel: Channel, seconds: float) -> None:
    """Receive one, look it up, run it, write it down, answer, delete: each call waits for the one before."""
    while deliveries := await channel.tasks.receive(1, 1.0):
        [delivery] = deliveries
        key = int(delivery.body)
        await channel.ledger.read([key])
        await asyncio.sleep(seconds)
        await channel.ledger.put([Record(key, "older", State.DONE)])
        await channel.answers.send([Message(delivery.body)])
        await channel.tasks.ack([delivery])


def one_call_per_step(workers: int, tasks_each: int, seconds: float) -> float:
    """The makespan in seconds of so many workers' loops, over a queue that was filled before."""
    loop = SimLoop()
    fleet = Fleet(read_model(FOLDER / "aws-us-east-1.yml"), 1, ServiceChoice(table="warm_raised"))

    async def main() -> float:
        backend = SimBackend.on(Network())
        await backend.create("r", ChannelOptions(visibility_s=600.0))
        channel = await backend.open("r")
        tasks = workers * tasks_each
        for first in range(0, tasks, 10):
            batch = range(first, min(first + 10, tasks))
            await channel.tasks.send([Message(str(index).encode()) for index in batch])
        backend.network.latency = fleet
        lives = [loop.spawn(f"w{number}", _worker(channel, seconds)) for number in range(workers)]
        ended_s = 0.0
        while (await channel.tasks.depth()).total:
            await asyncio.sleep(0.01)
            ended_s = loop.time()
        await asyncio.gather(*lives)
        return ended_s

    return simulate(main(), loop)


# --- tables --------------------------------------------------------------------------------------------


def forecasts(experiments: Iterable[Experiment], sample: int) -> dict[str, dict[int, Forecast]]:
    """By experiment and number of workers."""
    forecaster = Forecaster(read_prices(), sample)
    found: dict[str, dict[int, Forecast]] = {}
    for experiment in experiments:
        by_workers = found.setdefault(experiment.name, {})
        for cell in experiment.cells():
            print(f"{cell.spec.run} ...", flush=True)
            setting = Setting(cell.spec.workers, "t3.micro")
            by_workers[cell.spec.workers] = forecaster.forecast(cell, setting)
    return found


def throughput(kon: dict[str, dict[int, Forecast]]) -> str:
    rows = []
    for workers, batched in kon["sleep0-batched"].items():
        older = workers * 40 / one_call_per_step(workers, 40, 0.0)
        kinds = (
            kon["sleep0"][workers],
            batched,
            kon["sleep0-bundled"][workers],
            kon["sleep0-one-call"][workers],
        )
        rows.append(
            [
                f"{workers:,}",
                *(rounded(each.tasks_per_s) for each in kinds),
                rounded(older),
                *(_given(each.tasks_per_s, workers) for each in (A_REMOTE, SHEET, PAPER)),
            ]
        )
    headers = [
        "workers",
        "kon, no knob",
        "kon, batches of 10",
        "kon, bundles of 100",
        "kon, one item a call",
        "one call a step, in turn",
        "measured: clone A (2016), SQS",
        "measured: CloudKon (2013), sheet",
        "measured: CloudKon (2014), paper",
    ]
    return _table(rows, headers)


def _given(figures: Mapping[int, float], workers: int) -> str:
    return rounded(figures[workers]) if workers in figures else ""


def efficiencies(kon: dict[str, dict[int, Forecast]]) -> str:
    rows = []
    for ms in (1, 4, 16, 64, 256, 1_000, 1_024):
        [(workers, batched)] = kon[f"ms-{ms}-batched"].items()
        each = max(20, min(500, 4_000 // ms))
        older = each * ms / 1e3 / one_call_per_step(workers, each, ms / 1e3)
        assert batched.efficiency is not None
        given = SHEET.efficiency_by_length(64).get(ms / 1e3)
        sheet = "" if given is None else f"{given:g}"
        shown = [
            f"{ms:,}",
            rounded(100 * batched.efficiency),
            f"{batched.tasks_per_message:.3g}",
            rounded(100 * older),
        ]
        rows.append([*shown, sheet])
    headers = [
        "task (ms)",
        "kon, batched (%)",
        "tasks to a message",
        "one call a step, in turn (%)",
        "measured: CloudKon (2013), sheet (%)",
    ]
    return _table(rows, headers)


def beyond(kon: dict[str, dict[int, Forecast]]) -> str:
    rows = [
        [
            name,
            f"{each.tasks_per_message:.3g}",
            duration(each.work_s),
            rounded(each.tasks_per_s),
            rounded(100 * (each.efficiency or 0.0)),
            usd(each.usd),
            each.held_back_by,
        ]
        for name, by_workers in kon.items()
        for each in by_workers.values()
    ]
    headers = ["design", "tasks to a message", "time", "tasks/s", "efficiency (%)", "$", "held back by"]
    return _table(rows, headers)


def _table(rows: Sequence[Sequence[str]], headers: Sequence[str]) -> str:
    return tabulate(rows, headers, "github", disable_numparse=True)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.cloudkon", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"put the tables into docs/{PAGE.name}")
    write = parser.parse_args(argv).write
    paper = forecasts(load(ROOT / "workloads" / "cloudkon-2014.yml"), WHOLE)
    more = forecasts(load(ROOT / "workloads" / "cloudkon-16k.yml"), 20_000)
    made = {"throughput": throughput(paper), "efficiency": efficiencies(paper), "beyond": beyond(more)}
    for table in made.values():
        print(f"\n{table}")
    if write:
        page = PAGE.read_text()
        for name, table in made.items():
            before, _, rest = page.partition(f"<!-- {name} -->\n")
            _, _, after = rest.partition("<!-- end -->")
            page = f"{before}<!-- {name} -->\n{table}\n<!-- end -->{after}"
        PAGE.write_text(page)


if __name__ == "__main__":
    main()
