"""`kon generate`"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import click
import yaml

from kon.cli.output import note
from kon.errors import ConfigurationError
from kon.experiment.distributions import FORMS, parse_distribution
from kon.experiment.generate import sleep_lines, stats_lines, write_lines

_count = click.argument("count", type=click.IntRange(min=1))

_seed = click.option("--seed", type=int, default=0, show_default=True, help="The same seed, the same file.")

_out = click.option(
    "--out", type=click.Path(path_type=Path), help="A new file; without it the lines go to stdout."
)


@click.group()
def generate() -> None:
    """Write a workload file: one task a line, for `workload: {file: ...}`.

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
    """COUNT lines such as `sleep 10`, in milliseconds.

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
@click.option("--length", type=click.IntRange(min=1), default=100, show_default=True, help="Integers a line.")
@click.option(
    "--between", nargs=2, type=int, default=(0, 1000), show_default=True, help="The least and the largest."
)
@_seed
@_out
def stats(count: int, length: int, between: tuple[int, int], seed: int, out: Path | None) -> None:
    """COUNT lines of integers, for the kind stats.

    \b
    Example:
      kon generate stats 1000 --length 50 --between -10 10 --out numbers.txt
    """
    _write(stats_lines(count, length, *between, seed), out)


def _write(lines: Iterable[str], out: Path | None) -> None:
    if out is None:
        rest = iter(lines)
        while part := list(islice(rest, 10_000)):
            click.echo("\n".join(part))
        return
    note(f"{out}: {write_lines(out, lines):,} lines")
