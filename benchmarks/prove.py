"""How fast the search for broken promises is: `python -m benchmarks.prove`.

Schedules of 20 tasks on 3 workers, the real client, workers and strategy in each, on one core: under no
fault, under each fault by itself, and under all at once. All rates are by CPU time. Prints a table;
judges nothing.
"""

from __future__ import annotations

from typing import Final

import click
import msgspec
from tabulate import tabulate

from benchmarks.sim_loop import timed
from kon.core.spec import Plugin
from kon.trials.prove.classes import FaultClass, fault_class, fault_classes
from kon.trials.prove.exhaustive import exhaust
from kon.trials.prove.playing import play
from kon.trials.prove.scenario import Scenario

SCENARIO: Final = Scenario(tasks=20, workers=3)

WARM_UP: Final = 5
"""Schedules before the clock starts."""


class Row(msgspec.Struct, frozen=True):
    """One line of the table. steps: callbacks, in all schedules."""

    what: str
    schedules: int
    steps: int
    cpu_s: float

    def cells(self) -> list[str]:
        per_s, steps = self.schedules / self.cpu_s, self.steps / self.schedules
        return [self.what, f"{per_s:,.0f}", f"{steps:,.0f}", f"{self.cpu_s / self.steps * 1e6:.1f}"]


def searched(strategy: str, faults: FaultClass, schedules: int) -> Row:
    """Seeds from 0 on, one to three tasks in a message, as `kon prove` has it."""
    steps = [0]

    def run(seeds: int) -> None:
        for seed in range(seeds):
            scenario = msgspec.structs.replace(
                SCENARIO, strategy=Plugin(strategy), rates=faults.rates, bundle=1 + seed % 3
            )
            steps[0] += play(scenario, seed).steps

    run(WARM_UP)
    steps[0] = 0
    cpu_s = timed(lambda: run(schedules))
    return Row(faults.name, schedules, steps[0], cpu_s)


@click.command()
@click.option("--strategy", default="lease", show_default=True)
@click.option("--schedules", default=100, show_default=True, help="For each class of faults.")
@click.option("--fault", "faults", multiple=True, help="Only this class; may be given more than once.")
def main(strategy: str, schedules: int, faults: tuple[str, ...]) -> None:
    """What a schedule costs, with kon's own client and workers in it."""
    classes = [fault_class(name) for name in faults] or fault_classes()
    rows = [searched(strategy, each, schedules).cells() for each in classes]
    headers = ["faults", "schedules/s", "steps each", "us a step"]
    print(tabulate(rows, headers, disable_numparse=True, colalign=("left", "right", "right", "right")))
    tried: list[int] = []
    cpu_s = timed(lambda: tried.append(exhaust(Plugin(strategy), 0).schedules))
    print(f"\nthe small model, each single fault: {tried[0]:,} schedules, {tried[0] / cpu_s:,.0f} a second")


if __name__ == "__main__":
    main()
