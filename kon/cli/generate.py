"""`kon generate`"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import click
import yaml

from kon.cli.output import note
from kon.core.errors import ConfigurationError, counted
from kon.kinds.generate import draw_jobs, names_in, sleep_lines, stats_lines, write_jobs, write_lines
from kon.kinds.sleep import FORMS, parse_distribution
from kon.kinds.video.jobfile import DEMO

_count = click.argument("count", type=click.IntRange(min=1))

_seed = click.option("--seed", type=int, default=0, show_default=True, help="The same seed, the same file.")

_out = click.option(
    "--out", type=click.Path(path_type=Path), help="A new file; without it the lines go to stdout."
)


@click.group()
def generate() -> None:
    """Write a workload file: one task a line, for `workload: {file: ...}`; or job files for animoto.

    \b
    Example:
      kon generate sleep 1000 --ms 10 --out sleep.txt
    """


@generate.command()
@_count
@click.option(
    "--ms",
    default="10",
    show_default=True,
    metavar="MS",
    help=f"How long each sleeps, in milliseconds: {FORMS}.",
)
@_seed
@_out
def sleep(count: int, ms: str, seed: int, out: Path | None) -> None:
    """Write COUNT lines such as `sleep 10`, in milliseconds.

    \b
    Examples:
      kon generate sleep 1000 --ms 10 --out sleep.txt
      kon generate sleep 1000 --ms '{uniform: [1, 100]}' --seed 7
    """
    try:
        distribution = parse_distribution(yaml.safe_load(ms))
    except (ConfigurationError, yaml.YAMLError) as error:
        reason = error if isinstance(error, ConfigurationError) else f"expected {FORMS}"
        raise ConfigurationError(f"--ms {ms}: {reason}") from error
    _write(sleep_lines(count, distribution, seed), out)


@generate.command()
@_count
@click.option(
    "--length", type=click.IntRange(min=1), default=100, show_default=True, help="Integers in a line."
)
@click.option(
    "--between",
    nargs=2,
    type=int,
    default=(0, 1000),
    show_default=True,
    help="The smallest and the largest integer.",
)
@_seed
@_out
def stats(count: int, length: int, between: tuple[int, int], seed: int, out: Path | None) -> None:
    """Write COUNT lines of integers, for the kind stats.

    \b
    Example:
      kon generate stats 1000 --length 50 --between -10 10 --out numbers.txt
    """
    _write(stats_lines(count, length, *between, seed), out)


@generate.command()
@click.option(
    "--jobs", type=click.IntRange(1, 1_000_000), default=160, show_default=True, help="Number of videos."
)
@click.option(
    "--images", type=click.IntRange(1, 3_600), default=60, show_default=True, help="Images in each video."
)
@click.option(
    "--from",
    "place",
    default=DEMO,
    show_default=True,
    help='A folder of images, or a file with one link a line; "demo": the pictures that kon makes up.',
)
@click.option("--base", metavar="URL", help="The URL under which the folder's images are reached.")
@_seed
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="A new folder: job-001.txt and so on."
)
def animoto(jobs: int, images: int, place: str, base: str | None, seed: int, out: Path) -> None:
    """Write job files for the kind animoto: a link to an image on each line, drawn from --from.

    \b
    Examples:
      kon generate animoto --jobs 160 --images 60 --from links.txt --out jobs
      kon generate animoto --jobs 4 --from photos --base http://10.0.0.5:8000/ --out jobs
      then, in an experiment: workload: {kind: animoto, glob: jobs/*.txt}
    """
    links = [f"{base or ''}{name}" for name in names_in(place)]
    note(f"{out}: {write_jobs(out, draw_jobs(links, jobs, images, seed)):,} job files of {images} images")


def _write(lines: Iterable[str], out: Path | None) -> None:
    if out is None:
        rest = iter(lines)
        while part := list(islice(rest, 10_000)):
            click.echo("\n".join(part))
        return
    note(f"{out}: {counted(write_lines(out, lines), 'line')}")
