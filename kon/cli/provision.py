"""`kon up` and `kon down`"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

import click
import msgspec
from click.shell_completion import CompletionItem

from kon.backends.aws import AwsBackend
from kon.backends.aws.resources import Resource
from kon.cli.experiment import RunArguments, limit_option, set_option
from kon.cli.output import json_option, note, print_json, told
from kon.cli.runs import find_run, known_runs, root_option, runs_below
from kon.core.backend import ChannelOptions
from kon.core.errors import ConfigurationError, counted
from kon.core.lock import client_lock
from kon.core.plugins import backend_class
from kon.core.spec import Plugin
from kon.engine.records.records import RunFolder
from kon.fleet.provision import Changes, Needs, described, make, needs_of, own, queued, remove

EXIT_LEFT: Final = 5
"""The exit code where something that was to be deleted is still there."""


def _known(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """For tab completion: runs, and the shell's own files."""
    names = known_runs(ctx, param, incomplete)
    return [*map(CompletionItem, names), CompletionItem(incomplete, type="file")]


target_argument = click.argument("target", metavar="RUN|FILE", shell_complete=_known)

dry_run_option = click.option("--dry-run", is_flag=True, help="Only say what would be done.")


@click.command()
@target_argument
@root_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The folder of FILE's records: runs that are finished there need nothing.",
)
@set_option
@limit_option
@dry_run_option
@json_option
@click.pass_context
def up(
    ctx: click.Context,
    /,
    target: str,
    root: Path,
    out: Path | None,
    overrides: tuple[str, ...],
    limit: int | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Make the queues, the table and the bucket of RUN, or of all runs in the experiment FILE.

    Runs make what they need by themselves; this lets you look at it, or have workers there first. Repeating
    the command makes nothing twice. A run that can't be made keeps no other from being made, and is named at
    the end. Everything has the tags Project=kon, Run and ExpiresAt.

    \b
    Examples:
      kon up exp.yml --set backend=aws --dry-run
      kon up exp.yml --set backend=aws
    """
    needs = _needs(target, root, overrides, limit)
    if out is not None:
        needs = [each for each in needs if not RunFolder(out / each.run).finished]
    if dry_run:
        found = asyncio.run(described(needs))
        _print(found, found, any(not each.exists for each in found), as_json, "would make")
        return
    changes = asyncio.run(make(needs))
    _print(changes.before, changes.after, changes.changed, as_json, "made")
    ctx.exit(told(changes.failures))


@click.command()
@target_argument
@root_option
@set_option
@limit_option
@click.option("--force", is_flag=True, help="Also where the run is not over: what is queued is lost.")
@click.option("--keep-objects", is_flag=True, help="Leave what tasks have stored.")
@dry_run_option
@json_option
@click.pass_context
def down(
    ctx: click.Context,
    /,
    target: str,
    root: Path,
    overrides: tuple[str, ...],
    limit: int | None,
    force: bool,
    keep_objects: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Delete the queues, the table and the objects of RUN, or of all runs in the experiment FILE.

    A run that is over has deleted its queues and its table itself; this is for one that was given up, and
    for what tasks have stored, which outlives their run. A RUN without records here is looked for at Amazon
    by its name, with the backend's default options; --set backend.prefix=... changes them. The exit code is 5
    if something is left.

    \b
    Examples:
      kon down exp-lease-w4-r1
      kon down exp.yml --set backend=aws --dry-run
    """
    needs = _needs(target, root, overrides, limit, or_by_name=True)
    if not force and not dry_run:
        _check_over(needs, target, root)
    if dry_run:
        found = asyncio.run(described(needs))
        there = [each for each in found if each.exists]
        _print(found, there, any(each.exists for each in own(found)), as_json, "would delete")
        return
    changes = asyncio.run(remove(needs, keep_objects))
    if not as_json and not any(each.exists for each in own(changes.before)):
        note(f"{target} has no queue and no table at Amazon: it never was there, or is over")
    _print(changes.before, changes.after, changes.changed, as_json, "deleted")
    ctx.exit(_told_of_what_is_left(changes))


def _told_of_what_is_left(changes: Changes) -> int:
    """Say what went wrong; the exit code."""
    code = told(changes.failures)
    left = [each for each in own(changes.after) if each.exists]
    if left:
        names = ", ".join(f"{each.kind} {each.name}" for each in left)
        note(f"kon: still there: {names}. Mend the cause and repeat the command")
        return EXIT_LEFT
    return code


# --- which runs -----------------------------------------------------------------------------------------


def _needs(
    target: str, root: Path, overrides: Sequence[str], limit: int | None, or_by_name: bool = False
) -> list[Needs]:
    """What the runs need at Amazon. Raises ConfigurationError where none needs anything."""
    if Path(target).is_file() or target.endswith((".yml", ".yaml")):  # no run's name has a dot
        asked = RunArguments(file=Path(target), out=None, overrides=overrides, limit=limit)
        found = [needs_of(cell.spec) for each in asked.load() for cell in each.cells()]
    elif or_by_name and not _has_records(target, root):
        return [_by_name(target, overrides, limit)]
    elif overrides or limit is not None:
        raise ConfigurationError(
            f"--set and --limit are for an experiment FILE; the run {target} is described by its records"
        )
    else:
        found = [needs_of(find_run(target, root).read_run().spec)]
    aws = [each for each in found if issubclass(backend_class(each.backend.name), AwsBackend)]
    if not aws:
        names = ", ".join(sorted({each.backend.name for each in found}))
        raise ConfigurationError(
            f"{target}: nothing of it is at Amazon (backend: {names}); for an experiment there is "
            "--set backend=aws"
        )
    return aws


def _has_records(name: str, root: Path) -> bool:
    return RunFolder(Path(name)).exists or any(each.path.name == name for each in runs_below(root))


def _by_name(run: str, overrides: Sequence[str], limit: int | None) -> Needs:
    """A run that was begun elsewhere, or never."""
    if "/" in run:
        raise ConfigurationError(f"there is neither a file nor a run {run}")
    if limit is not None:
        raise ConfigurationError(f"--limit is for an experiment FILE, and {run} is not one")
    options: dict[str, Any] = {}
    for text in overrides:
        key, equals, value = text.partition("=")
        name = key.removeprefix("backend.")
        if not equals or name == key:
            raise ConfigurationError(
                f"--set {text}: the run {run} has no records here, and of it nothing but options of its "
                "backend can be said, such as --set backend.prefix=mine"
            )
        options[name] = value
    return Needs(run, Plugin(AwsBackend.name, options), ChannelOptions())


def _check_over(needs: Sequence[Needs], target: str, root: Path) -> None:
    """Raises ConfigurationError where a run would lose what it has still to do."""
    unknown = []
    for each in needs:
        folder = _folder(each.run, target, root)
        if folder is None or not folder.begun:
            unknown.append(each)
        elif not folder.finished:
            _refuse(each.run, folder)
    for run, messages in asyncio.run(queued(unknown)).items():
        raise ConfigurationError(
            f"the run {run} has no records here, but about {counted(messages, 'message')} at Amazon: perhaps "
            "somebody elsewhere is at work on it. Nothing was deleted; add --force if it is to go"
        )


def _refuse(run: str, folder: RunFolder) -> NoReturn:
    if client_lock(folder.path.parent).is_held():
        raise ConfigurationError(
            f"a client is at work on runs in {folder.path.parent}, which {run} is one of; nothing was "
            "deleted. Give it up with `kon cancel`, or let it end"
        )
    raise ConfigurationError(
        f"the run {run} is not over, and what is queued or not collected yet would be lost; nothing "
        f"was deleted. End it with `kon collect {shlex.quote(str(folder.path))}`, after `kon cancel` if it "
        "is to be given up; or add --force"
    )


def _folder(run: str, target: str, root: Path) -> RunFolder | None:
    if RunFolder(Path(target)).exists:
        return RunFolder(Path(target))
    return next((each for each in runs_below(root) if each.path.name == run), None)


# --- what is said ---------------------------------------------------------------------------------------


def _print(
    before: Sequence[Resource], after: Sequence[Resource], changed: bool, as_json: bool, verb: str
) -> None:
    if as_json:
        print_json({"changed": changed, "resources": msgspec.to_builtins(after)})
        return
    was = {(each.service, each.name): each.exists for each in before}
    would = verb.startswith("would")
    for each in after:
        existed = was[each.service, each.name]
        touched = (would and existed == (verb == "would delete")) or existed != each.exists
        word = verb if touched else "there already" if each.exists else "not there"
        click.echo(f"{word:14}  {each.service:8}  {each.kind:6}  {each.name}")
