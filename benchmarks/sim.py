"""Simulated tasks per second of one core, with kon's own worker on 1,024 hosts.

    python -m benchmarks.sim

CPU time of this process, so that what else goes on here does not count: a host is a worker, with its
receives, claims, commits, answers and acks over the model of SQS and DynamoDB. Events are written to
nowhere, as in `kon plan`, or to a file, as in `kon run`.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from kon.core.journal import FileJournal
from kon.experiment import loads
from kon.launch.simulated.host import BlockJournal
from kon.launch.simulated.simulation import Journals, Simulation

WORKERS: Final = 1_024

GOAL: Final = 5_000
"""Simulated tasks a second, at least; twice as many are aimed at."""


class Case(NamedTuple):
    what: str
    tasks: int
    settings: str
    recorded: bool = False


CASES: Final = (
    Case("sleep 0, a message each", 100_000, "strategies: conditional_put"),
    Case("sleep 0, a message each, recorded", 100_000, "strategies: conditional_put", recorded=True),
    Case("sleep 0, a message each, lease", 100_000, "strategies: lease"),
    Case("sleep 0, 100 to a message", 500_000, "strategies: conditional_put\nbundle: 100"),
)


def measure(case: Case, folder: Path) -> tuple[float, float]:
    """Simulated tasks a second of CPU time, and the makespan in virtual seconds."""
    text = (
        "name: sim\nbackend: {name: sim, table: warm_raised, boot: false}\n"
        f"workload: {{kind: sleep, count: {case.tasks}, seconds: 0}}\nworkers: {WORKERS}\n{case.settings}\n"
    )
    [cell] = loads(text, "benchmarks/sim.py", Path())[0].cells()
    events = BlockJournal(FileJournal(folder / "events.jsonl")) if case.recorded else None
    results = BlockJournal(FileJournal(folder / "results.jsonl")) if case.recorded else None
    journals = Journals(events=events, results=results)
    simulation = Simulation(cell.spec, cell.workload.bodies(WORKERS), journals)
    began_s = time.process_time()
    report = simulation.run()
    for journal in (events, results):
        if journal is not None:
            journal.close()
    took_s = time.process_time() - began_s
    assert simulation.tally is not None
    assert simulation.tally.left == 0
    return case.tasks / took_s, report.wall_s


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.sim", description=__doc__)
    parser.add_argument("--rounds", type=int, default=1, help="measure so often, and show the best")
    rounds = parser.parse_args(argv).rounds
    print(f"{WORKERS:,} simulated hosts; goal: {GOAL:,} simulated tasks a second of one core")
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            best = max(measure(case, Path(folder)) for _ in range(rounds))
        print(f"{case.what:<36} {best[0]:>10,.0f} tasks/s   ({best[1]:.1f} virtual seconds)")


if __name__ == "__main__":
    main()
