"""`kon runs`, `kon rm` and `kon clean`: what is recorded, how large and how old it is, and its removal."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from kon.cli.output import json_option, note, print_json, table_width, told, wide_option
from kon.cli.runs import find_run, find_runs, root_option, runs_argument
from kon.core.errors import ConfigurationError, counted, each_of
from kon.engine.records.records import RunFolder
from kon.launch.removal import FolderContents, held, remove, why_kept
from kon.report.tables import draw

_UNITS_S: Final = {"h": 3_600, "d": 86_400, "w": 7 * 86_400}
_AGE: Final = re.compile(r"(\d{1,6})([hdw])")

_with_objects = click.option("--with-objects", is_flag=True, help="Remove what tasks have stored, too.")
_dry_run = click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
_yes = click.option("--yes", "-y", is_flag=True, help="Do not ask.")


@click.command()
@runs_argument
@root_option
@json_option
@wide_option
def runs(runs: tuple[str, ...], root: Path, as_json: bool, wide: bool) -> None:
    """List recorded runs with their sizes and ages: those named, those in a folder DIR, or all below --root.

    An age counts from the end of a run, or from its beginning where it is not finished. Objects are files
    that tasks have stored.

    \b
    Examples:
      kon runs
      kon runs results/nightly --json
    """
    folders = find_runs(runs, root)
    found = [(folder, held(folder, time.time())) for folder in folders]
    if as_json:
        print_json({"runs": [_row(folder, has) for folder, has in found]})
    elif found:
        _show(found, wide)
    else:
        note(f"no runs below {root}")


@click.command()
@click.argument("names", metavar="RUN...", nargs=-1, required=True)
@root_option
@_with_objects
@_dry_run
@_yes
def rm(names: tuple[str, ...], root: Path, with_objects: bool, dry_run: bool, yes: bool) -> None:
    """Remove finished runs, each by its name or folder.

    Nothing is removed if one of them is not finished, holds files that are not kon's, or holds what tasks
    have stored. What is stored elsewhere (aws, the option objects) stays.

    \b
    Examples:
      kon rm sleep-lease-w1-r1
      kon rm results/old/sleep-lease-w1-r1 --yes
    """
    folders = list({run.path: run for run in (_the_run(name, root) for name in names)}.values())
    reasons = [reason for folder in folders if (reason := why_kept(folder, with_objects)) is not None]
    if reasons:
        raise ConfigurationError("\n".join(reasons) + "; nothing was removed")
    _remove(folders, with_objects, dry_run, yes)


@click.command()
@click.option("--older", metavar="AGE", required=True, help="Runs that ended longer ago: 36h, 30d or 8w.")
@root_option
@_with_objects
@_dry_run
@_yes
def clean(older: str, root: Path, with_objects: bool, dry_run: bool, yes: bool) -> None:
    """Remove finished runs below --root that ended some time ago.

    Runs that are not finished, hold files that are not kon's, or hold what tasks have stored, are kept and
    named.

    \b
    Examples:
      kon clean --older 30d --dry-run
      kon clean --older 8w --root /data/results --yes
    """
    age = _AGE.fullmatch(older)
    if age is None:
        raise ConfigurationError(
            f"--older: expected a whole number with h, d or w for hours, days or weeks, such as 30d, "
            f'found "{older}"'
        )
    least_s, now_s = int(age[1]) * _UNITS_S[age[2]], time.time()
    old = [folder for folder in find_runs((), root) if held(folder, now_s).age_s > least_s]
    going: list[RunFolder] = []
    for folder in old:
        reason = why_kept(folder, with_objects)
        if reason is None:
            going.append(folder)
        else:
            note(f"left: {reason}")
    if going:
        _remove(going, with_objects, dry_run, yes)
    else:
        note(f"no finished run below {root} is older than {older}")


def _the_run(name: str, root: Path) -> RunFolder:
    """The one run that a word can mean. Raises ConfigurationError where there are two, or none."""
    found = find_run(name, root)
    others = [run.path for run in find_runs((), root) if run.path.name == name]
    if any(path.absolute() != found.path for path in others):
        paths = ", ".join(map(str, [found.path, *others]))
        raise ConfigurationError(f'"{name}" may mean more than one run; name one by its whole path: {paths}')
    return found


def _remove(folders: Sequence[RunFolder], with_objects: bool, dry_run: bool, yes: bool) -> None:
    now_s = time.time()
    _show([(folder, held(folder, now_s)) for folder in folders], wide=False)
    if dry_run:
        note("nothing was removed: --dry-run")
        return
    if not yes:
        if not sys.stdin.isatty():
            raise ConfigurationError("nothing was removed: name --yes where nobody can be asked")
        if not click.confirm(f"Remove {counted(len(folders), 'run')}?"):
            raise ConfigurationError("nothing was removed")

    async def one(folder: RunFolder) -> None:
        await remove(folder, with_objects)
        note(f"removed {_from_here(folder.path)}")

    failures = asyncio.run(each_of(folders, one, "run"))
    if failures:
        click.get_current_context().exit(told(failures))


def _show(found: Sequence[tuple[RunFolder, FolderContents]], wide: bool) -> None:
    body = [
        [
            _from_here(folder.path),
            "finished" if has.finished else "not finished",
            _size(has.size_bytes),
            f"{has.objects:,}",
            _age(has.age_s),
        ]
        for folder, has in found
    ]
    total = _size(sum(has.size_bytes for _, has in found))
    align = ["left", "left", "right", "right", "right"]
    click.echo(draw(body, ["folder", "state", "size", "objects", "age"], align, width=table_width(wide)))
    click.echo(f"\n{counted(len(found), 'run')}, {total}")


def _from_here(path: Path) -> str:
    """As it is typed here, where it lies below the current folder."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _row(folder: RunFolder, has: FolderContents) -> dict[str, Any]:
    return {
        "run": folder.path.name,
        "folder": str(folder.path),
        "finished": has.finished,
        "size_bytes": has.size_bytes,
        "objects": has.objects,
        "age_s": round(has.age_s),
    }


def _size(size_bytes: int) -> str:
    """For people, by powers of 1,000: `812 B`, `1.5 kB`, `3.2 GB`."""
    size, units = float(size_bytes), ["B", "kB", "MB", "GB", "TB"]
    while size >= 999.5 and len(units) > 1:
        size, units = size / 1_000, units[1:]
    return f"{size:.0f} {units[0]}" if units[0] == "B" else f"{size:.3g} {units[0]}"


def _age(age_s: float) -> str:
    """For people, in the units that --older takes, or minutes below an hour."""
    if age_s < _UNITS_S["h"]:
        return f"{max(0, age_s) / 60:.0f} min"
    unit = "h" if age_s < 2 * _UNITS_S["d"] else "d"
    return f"{age_s / _UNITS_S[unit]:.0f} {unit}"
