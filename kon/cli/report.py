"""`kon report` and `kon plot`"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kon.cli.output import force_option, note, reference_option, refuse, warn, write
from kon.cli.runs import find_runs, root_option, runs_argument
from kon.core.errors import ConfigurationError, counted
from kon.engine.records.records import RunFolder

if TYPE_CHECKING:
    from kon.report.views import Reference


@click.command()
@runs_argument
@root_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The file to write.  [default: the run's or the folder's name, with .html, in this folder]",
)
@reference_option
@force_option
def report(runs: tuple[str, ...], root: Path, out: Path | None, reference: Path | None, force: bool) -> None:
    """Write one page of HTML about runs: tables, plots, what failed, and how to repeat it.

    RUN is a run's id or the folder of its records, DIR a folder of several. The page holds all it needs, and
    can be opened from disk, mailed or put on a server as it is. Its path is printed.

    \b
    Examples:
      kon report results/quickstart
      kon report exp-lease-w1-r1 exp-none-w1-r1 --out strategies.html
    """
    from kon.report.page.build import report as page
    from kon.report.plots import lacking

    folders, others = _found(runs, root, reference)
    name = _name(runs, folders, root)
    file = out or Path(f"{name}.html")
    if not force:
        refuse([file])  # before the work, and once more when it is written
    write(file, page(folders, name, others).encode(), force)
    if lacks := lacking():
        warn(f"the page has no plots: {lacks}")
    note(f"{counted(len(folders), 'run')}; open it in a browser")
    click.echo(file)


def _found(
    runs: Sequence[str], root: Path, reference: Path | None
) -> tuple[list[RunFolder], Sequence[Reference]]:
    """The runs that are asked for, and figures of others. Raises ConfigurationError where there is no run."""
    from kon.report.views import references

    others = references(reference) if reference else ()
    folders = find_runs(runs, root)
    if not folders:
        raise ConfigurationError(f"there is no run below {root}; `kon run` makes one")
    return folders, others


def _name(runs: Sequence[str], folders: Sequence[RunFolder], root: Path) -> str:
    """What the page is about, in a word."""
    if len(folders) == 1:
        return folders[0].path.name
    parents = {folder.path.parent for folder in folders}
    if len(parents) == 1:
        return next(iter(parents)).name
    return Path(runs[0]).absolute().name if runs else root.absolute().name


@click.command()
@runs_argument
@root_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("plots"),
    show_default=True,
    help="The folder of the plots; it is made if it is missing.",
)
@click.option(
    "--format",
    "kinds",
    type=click.Choice(["png", "svg"]),
    multiple=True,
    help="May be given twice.  [default: both]",
)
@reference_option
@force_option
def plot(
    runs: tuple[str, ...], root: Path, out: Path, kinds: tuple[str, ...], reference: Path | None, force: bool
) -> None:
    """Draw plots of recorded runs into files that fit a column of a paper: throughput and efficiency by
    workers, latencies, who worked when, the backlog, cost by service. Their paths are printed.

    \b
    Examples:
      kon plot results/quickstart
      kon plot exp-lease-w1-r1 --format svg --out figures
    """
    from kon.report.gathered import gather
    from kon.report.plots import lacking

    if lacks := lacking():
        raise ConfigurationError(f"{lacks}; nothing was written")
    from kon.report.plots.catalogue import plots
    from kon.report.plots.style import as_png, as_svg, drawing

    folders, others = _found(runs, root, reference)
    made: dict[Path, bytes] = {}
    with drawing():
        for each in plots(gather(folders), others):
            file = out / re.sub(r"[^\w.-]+", "-", each.name)
            for kind in kinds or ("png", "svg"):
                path = file.with_name(f"{file.name}.{kind}")
                made[path] = as_png(each.figure) if kind == "png" else as_svg(each.figure).encode()
    if not force:
        refuse(made)  # all or none
    for path, body in made.items():
        write(path, body, force)
        click.echo(path)
    note(counted(len(made), "file"))
