"""`python -m benchmarks`: measures what is not recorded yet, and draws the tables from the records."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Final

import click

from benchmarks.aws.efficiency import Efficiency as AwsEfficiency
from benchmarks.aws.idle import Idle as AwsIdle
from benchmarks.aws.million import Million as AwsMillion
from benchmarks.aws.throughput import Throughput as AwsThroughput
from benchmarks.aws.versions import peers_installed
from benchmarks.efficiency import Efficiency
from benchmarks.experiment import Experiment, Point, Record
from benchmarks.footprint import Footprint, Idle, Submission
from benchmarks.fresh import MeasurementFailed, call
from benchmarks.in_memory import InMemory
from benchmarks.on_disk import OnDisk
from benchmarks.page import page, page_with_aws, text
from benchmarks.programs import programs
from benchmarks.records import ROOT, Records, here

PAGE: Final = ROOT / "docs" / "benchmarks.md"

EXPERIMENTS: Final[dict[str, Experiment]] = {
    each.name: each
    for each in (InMemory(), OnDisk(), Efficiency(), Footprint(), Submission(), Idle(), *programs())
}

AWS: Final[dict[str, Experiment]] = {
    each.name: each for each in (AwsThroughput(), AwsMillion(), AwsEfficiency(), AwsIdle())
}
"""On an emulator of Amazon's services, against peers in a virtualenv of their own."""


@click.command()
@click.option("--quick", is_flag=True, help="Fewer and smaller measurements: a look, in a minute or two.")
@click.option("--only", multiple=True, metavar="NAME", help="This experiment; may be given several times.")
@click.option("--again", is_flag=True, help="Measure anew what is recorded already.")
@click.option("--redraw", is_flag=True, help="Measure nothing: draw the newest records, of whatever program.")
@click.option("--write", is_flag=True, help=f"Write docs/{PAGE.name} as well.")
@click.option("--aws", is_flag=True, help="Those on Amazon's services: `make bench-aws`.")
@click.option("--list", "list_only", is_flag=True, help="Name the experiments, and end.")
def main(
    quick: bool, only: Sequence[str], again: bool, redraw: bool, write: bool, aws: bool, list_only: bool
) -> None:
    """Measure kon beside its peers, in one run on this machine."""
    experiments, part = (AWS, "aws") if aws else (EXPERIMENTS, "")
    if list_only:
        click.echo("\n".join(experiments))
        return
    if unknown := set(only) - set(experiments):
        raise click.UsageError(
            f"no experiment {', '.join(sorted(unknown))}; there are {', '.join(experiments)}"
        )
    if write and (quick or only):
        raise click.UsageError("--write is for the whole: not with --quick or --only")
    chosen = [experiment for name, experiment in experiments.items() if not only or name in only]
    if redraw:
        records = Records.latest(part)
    else:
        records = Records.of(here(peers_installed() if aws else None), part)
    if records is None:
        raise click.UsageError("--redraw: nothing is recorded yet")
    if not redraw:
        measure(chosen, records, quick, again)
    sections = []
    for experiment in chosen:
        found = [records.find(experiment.name, point) for point in experiment.points(quick)]
        if None in found:
            click.echo(f"{experiment.name}: not all of it is recorded", err=True)
            continue
        sections.append(experiment.draw([record for record in found if record is not None]))
        click.echo(text(sections[-1]))
    if write:
        before = PAGE.read_text() if PAGE.exists() else ""
        PAGE.write_text((page_with_aws if aws else page)(sections, records, before))
        click.echo(f"written: {PAGE.relative_to(ROOT)}", err=True)


def measure(experiments: Sequence[Experiment], records: Records, quick: bool, again: bool) -> None:
    """Make the measurements that are not recorded, in order; each is recorded as soon as it is made."""
    points = [(experiment, point) for experiment in experiments for point in experiment.points(quick)]
    missing = [
        (experiment, point)
        for experiment, point in points
        if again or not records.find(experiment.name, point)
    ]
    if len(missing) < len(points):
        click.echo(f"{len(points) - len(missing)} of {len(points)} are recorded (--again: anew)", err=True)
    for number, (experiment, point) in enumerate(missing, start=1):
        click.echo(f"[{number}/{len(missing)}] {experiment.name}: {point.what} ... ", err=True, nl=False)
        began_s = time.monotonic()
        record = make(experiment, point, records)
        click.echo(f"{told(record)} ({time.monotonic() - began_s:.1f} s)", err=True)


def make(experiment: Experiment, point: Point, records: Records) -> Record:
    load = os.getloadavg()[0]
    try:
        figures = call(point.function, point.options)
    except MeasurementFailed as error:
        raise click.ClickException(f"{error}\nWhat was measured before is recorded.") from error
    return records.add(experiment.name, point, figures, load)


TOLD: Final = {
    "efficiency": "{:.1%}",
    "tasks_per_s": "{:,.0f} tasks/s",
    "us_per_task": "{:.2f} us a task",
    "worker_peak_mb": "{:.1f} MB",
    "core_share": "{:.2%} of a core",
    "fsync_us": "{:,.0f} us",
}


def told(record: Record) -> str:
    """The figure that says most, for people who watch."""
    for name, form in TOLD.items():
        if record.figures.get(name) is not None:
            return form.format(record.figures[name])
    return "done"


if __name__ == "__main__":
    main()
