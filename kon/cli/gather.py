"""`kon gather`"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import click

from kon.cli.output import note
from kon.core.errors import ConfigurationError, counted
from kon.engine.records.records import RunFolder
from kon.report.summary import summarise


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.argument("parts", type=click.Path(path_type=Path), nargs=-1, required=True)
def gather(out: Path, parts: Sequence[Path]) -> None:
    """Copy hosts' records, PARTS, into OUT, where the client's records are.

    A part is a folder that `kon join --out` has written, copied to this machine. Tables then have what only
    hosts know: starts, avoided repeats, requests. Parts of an earlier run of the same name are left out.
    Repeating the command changes nothing.

    \b
    Example:
      kon gather results/exp fetched/host1 fetched/host2
    """
    for part in parts:
        if not part.is_dir():
            raise ConfigurationError(f"{part}: is not a folder that `kon join --out` has written to")
    changed = 0
    for run in sorted(path for path in out.glob("*") if RunFolder(path).exists):
        folder = RunFolder(run)
        found = sum(_take(RunFolder(part / run.name), folder) for part in parts)
        if found and folder.finished:
            row = summarise(folder)
            if folder.finished:  # nobody has opened it again meanwhile: a row would end that round
                folder.write_summary(row)
        changed += found
    note(
        f"{counted(changed, 'file')} of hosts came new into {out}"
        if changed
        else f"{out} has all of it already"
    )


def _take(part: RunFolder, into: RunFolder) -> int:
    """Copy what is not there, or has grown; how many files."""
    if not part.exists or part.read_run().begun_s != into.read_run().begun_s:
        return 0
    taken = 0
    for source, target in ((part.events, into.events), (part.logs, into.logs)):
        for file in sorted(source.glob("*")):
            copy = target / file.name
            if copy.exists() and copy.stat().st_size >= file.stat().st_size:
                continue
            target.mkdir(parents=True, exist_ok=True)
            fresh = copy.with_name(f".{copy.name}.new")
            shutil.copyfile(file, fresh)
            fresh.replace(copy)
            taken += 1
    return taken
