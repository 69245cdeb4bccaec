"""`kon report`"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from kon.cli.output import force_option, note, reference_option, refuse, warn, write
from kon.cli.runs import find_runs, root_option, runs_argument
from kon.core.errors import ConfigurationError
from kon.engine.records.records import RunFolder


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
    from kon.report.views import references

    others = references(reference) if reference else ()
    folders = find_runs(runs, root)
    if not folders:
        raise ConfigurationError(f"there is no run below {root}; `kon run` makes one")
    name = _name(runs, folders, root)
    file = out or Path(f"{name}.html")
    if not force:
        refuse([file])  # before the work, and once more when it is written
    write(file, page(folders, name, others).encode(), force)
    if lacks := lacking():
        warn(f"the page has no plots: {lacks}")
    note(f"{len(folders):,} {'run' if len(folders) == 1 else 'runs'}; open it in a browser")
    click.echo(file)


def _name(runs: Sequence[str], folders: Sequence[RunFolder], root: Path) -> str:
    """What the page is about, in a word."""
    if len(folders) == 1:
        return folders[0].path.name
    parents = {folder.path.parent for folder in folders}
    if len(parents) == 1:
        return next(iter(parents)).name
    return Path(runs[0]).absolute().name if runs else root.absolute().name
