"""What others measured, by the number of workers: `workloads/published.yml`, for the benchmarks' tables."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from kon.report.views import Reference, references

SYSTEMS: Final = {
    each.system: each for each in references(Path(__file__).parents[1] / "workloads/published.yml")
}

A_REMOTE: Final = SYSTEMS["clone A (2016), SQS"]
B_REMOTE: Final = SYSTEMS["clone B (2016), SQS"]
A_LOCAL: Final = SYSTEMS["clone A (2016), threads"]
B_LOCAL: Final = SYSTEMS["clone B (2016), threads"]
SHEET: Final = SYSTEMS["CloudKon (2013), sheet"]
PAPER: Final = SYSTEMS["CloudKon (2014), paper"]

WORKERS: Final = tuple(A_REMOTE.tasks_per_s)
"""The numbers of workers that both clones were measured with."""

VIDEOS: Final = 160
"""In clone B's measurement of them, of 60 images each."""


def efficiencies(seconds: float, *systems: Reference) -> list[tuple[str, ...]]:
    """A row for each system that has figures for tasks of this length, in percent, by `WORKERS`."""
    found = [(each.system, each.efficiency_percent.get(seconds, {})) for each in systems or SYSTEMS.values()]
    return [
        (name, *(f"{percents[count]:.2f}" for count in WORKERS))
        for name, percents in found
        if set(WORKERS) <= percents.keys()
    ]
