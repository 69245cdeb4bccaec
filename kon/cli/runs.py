"""Where a run is: by its name, below the folders where runs are kept, or by its folder."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import click

from kon.core.errors import ConfigurationError, did_you_mean
from kon.engine.records.records import RunFolder

RESULTS: Final = Path("results")
"""Where experiments are recorded, unless --out says otherwise."""


def known_runs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """For tab completion: below the default folder, as --root may stand after the name."""
    names = {run.path.name for run in runs_below(RESULTS)}
    return sorted(name for name in names if name.startswith(incomplete))


run_argument = click.argument("run", metavar="RUN", shell_complete=known_runs)

runs_argument = click.argument("runs", metavar="[DIR|RUN]...", nargs=-1, shell_complete=known_runs)

root_option = click.option(
    "--root",
    type=click.Path(path_type=Path),
    default=RESULTS,
    show_default=True,
    help="The folder in which runs are looked for by their names.",
)


def runs_below(root: Path) -> list[RunFolder]:
    """The runs in a folder and in the folders in it, by path. Raises ConfigurationError."""
    return [RunFolder(path) for path in _runs_below(root)]


def find_run(name: str, root: Path) -> RunFolder:
    """The run of that name below `root`, or the one whose folder it is. Raises ConfigurationError."""
    folder = RunFolder(Path(name))
    if folder.exists:
        return RunFolder(folder.path.absolute())
    below = runs_below(root)
    found = [each for each in below if each.path.name == name]
    if len(found) == 1:
        return RunFolder(found[0].path.absolute())
    if found:
        paths = ", ".join(str(each.path) for each in found)
        raise ConfigurationError(f'there is more than one run "{name}"; name one by its folder: {paths}')
    if folder.path.is_dir():
        raise ConfigurationError(f"{name}: is a folder, but not that of a run; it has no run.json")
    known = {each.path.name for each in below}
    hint = did_you_mean(name, known) or (
        "; `kon status` lists those that are there" if known else ", nor any other"
    )
    raise ConfigurationError(f'no run "{name}" below {root}{hint}')


def find_runs(names: Sequence[str], root: Path) -> list[RunFolder]:
    """The runs that these words mean, each the name or folder of one, or a folder of several; without any
    all below `root`. Raises ConfigurationError."""
    if not names:
        return runs_below(root)
    found: list[RunFolder] = []
    for name in names:
        below = [] if RunFolder(Path(name)).exists or not Path(name).is_dir() else runs_below(Path(name))
        found += below or [find_run(name, root)]
    return list({folder.path.absolute(): folder for folder in found}.values())


def collect_command(folder: RunFolder, *flags: str) -> str:
    """What takes a run up again, for a person to copy."""
    return shlex.join(["kon", "collect", str(folder.path), *flags])


def _runs_below(root: Path) -> Iterator[Path]:
    for folder in _folders(root):
        if RunFolder(folder).exists:
            yield folder
        else:
            yield from (each for each in _folders(folder) if RunFolder(each).exists)


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(each for each in folder.iterdir() if each.is_dir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ConfigurationError(f"{folder}: can't be read: {error.strerror}") from error
