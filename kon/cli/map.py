"""`kon map`: a command for each of many items, for people who know xargs or GNU parallel."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from kon.cli import map_sources as sources_of
from kon.cli.map_incoming import Incoming
from kon.cli.map_options import MapCommand, MapRequest, check, map_options
from kon.cli.map_run import MapRun
from kon.cli.map_sources import Item
from kon.cli.map_tasks import Commands, Slots, make_plan
from kon.cli.map_words import ItemInput, check_placeholders, check_shell, read_words, replaced, stdin_now
from kon.cli.output import note, print_rows
from kon.core.spec import processors
from kon.kinds.command import DEFAULT_SHELL

_DRAIN_S: Final[dict[str, float]] = {"never": 0.0, "soon": 604_800.0, "now": 0.0}
"""How long commands that run go on when no more are started."""

FEW_ITEMS: Final = 100
"""One worker process starts this many commands in a tenth of a second, as long as another takes to start."""

INLINE_BYTES: Final = 65_536
"""Output up to this travels with a task's outcome; longer output is kept in a file until it is printed."""


@click.command("map", cls=MapCommand, context_settings={"allow_interspersed_args": False})
@click.argument("words", metavar="COMMAND ::: ITEMS...", nargs=-1, type=click.UNPROCESSED)
@map_options
@click.pass_context
def map_(ctx: click.Context, /, words: Sequence[str], **options: Any) -> None:
    """Run COMMAND once for each item, several at a time, each once in effect.

    \b
      kon map gzip -k ::: *.log                    the command in words, and ::: before the items
      kon map 'gzip -k {} && rm {}' *.log          the command as one word, in quotes
      find . -name '*.wav' -print0 | kon map -0 'flac -s {} -o {.}.flac'
      kon map convert {1} -resize {2} ::: *.jpg ::: 200 400

    {} stands for the item, as one word whatever characters that has; {.} for the item without extension,
    {/} without folder, {/.} without both, {//} for its folder, {#} for its number from 1, {%} for the slot
    that runs it. With several sources of items, or -n, {1}, {2}, ... stand for one each. Without any of
    these the items come last. Without items on the line they are read from standard input, one a line.

    What a command prints is printed when it has ended, whole. Exit code: 0 when every command ended
    with 0; 1 when not; 2 when nothing was run because it can't be.
    """
    request = MapRequest(**options)
    check(request)
    command, items = _command_and_items(words, request)
    if request.tmpdir is not None:
        tempfile.tempdir = str(request.tmpdir.absolute())
    commands = Commands(command, items, request.shell, appends=request.stdin != "item")
    _check_positions(commands, items)
    if request.dry_run:
        _dry_run(commands, len(items))
    elif not items and not isinstance(items, Incoming):
        _say_nothing_to_do(request)
    else:
        ctx.exit(0 if _run(command, items, commands, request) else 1)


def _own_options() -> dict[str, bool]:
    """By name, whether the option takes a value."""
    params = click.get_current_context().command.params
    options = [each for each in params if isinstance(each, click.Option)]
    return {name: not (each.is_flag or each.count) for each in options for name in each.opts}


def _command_and_items(words: Sequence[str], request: MapRequest) -> tuple[str, Sequence[Item]]:
    """Raises UsageError for what can be read in two ways, or can't be."""
    meant = read_words(words, request.arg_files, stdin_now(), _own_options())
    command = meant.command
    if request.replace is not None:
        command = replaced(command, request.replace)
    check_placeholders(command)
    check_shell(command, request.shell)
    if shutil.which(request.shell) is None:
        raise click.UsageError(f"--shell {request.shell}: there is no such program")
    if request.stdin is not None and request.stdin != "item" and not Path(request.stdin).is_file():
        raise click.UsageError(
            f"--stdin {request.stdin}: there is no such file. `item` stands for the item of each command"
        )
    if meant.sources == [ItemInput(file="-")] and _may_come_slowly(request):
        incoming = Incoming(sys.stdin.fileno(), request.item_delimiter)
        if not incoming.is_over:
            return command, incoming
        return command, incoming.first
    values = sources_of.read_sources(meant.sources, request.item_delimiter)
    several = len(values) > 1
    if several and (request.colsep is not None or request.most_items is not None or request.spread_items):
        raise click.UsageError(
            "--colsep, -n and -X are for one source of items, and there are several; put them together in "
            "a file"
        )
    if request.colsep is not None:
        return command, sources_of.Columns(values[0], sources_of.separator_of(request.colsep))
    if request.most_items is not None or request.spread_items:
        slots = _wanted(request, len(values[0]))
        return command, sources_of.Groups.of(
            values[0], request.most_items, slots, spread=request.spread_items
        )
    return command, sources_of.combined(meant.sources, values)


def _may_come_slowly(request: MapRequest) -> bool:
    """Whether commands may start before all items are read: nothing that is asked for goes by all of them."""
    by_all = (
        request.out or request.dry_run or request.as_json or request.resumes,
        request.colsep is not None,
        request.most_items is not None or request.spread_items or request.halt.is_share,
        request.jobs is not None and request.jobs.as_many_as_tasks,
    )
    return not any(by_all) and _has_number(sys.stdin)


def _has_number(stream: Any) -> bool:
    """Whether a stream is a file of the system's, and not one of a test's or a notebook's."""
    try:
        return bool(stream.fileno() >= 0)
    except (OSError, ValueError):
        return False


def _check_positions(commands: Commands, items: Sequence[Item]) -> None:
    """Raises UsageError for a `{2}` in a command that gets one item: in a script it may have been text."""
    highest = commands.template.highest_position
    if highest > 1 and items and isinstance(items[0], str):
        raise click.UsageError(
            f"the command has {{{highest}}}, and there is one source of items; nothing was run. Name another "
            f"source with :::, cut lines into columns with --colsep, or write \\{{{highest}}} for the text"
        )


def _wanted(request: MapRequest, tasks: int) -> int:
    """Commands at once."""
    return processors() if request.jobs is None else request.jobs.slots(processors(), tasks)


def _dry_run(commands: Commands, count: int) -> None:
    out = sys.stdout.buffer
    for index in range(count):
        out.write(commands[index] + b"\n")
    out.flush()


def _say_nothing_to_do(request: MapRequest) -> None:
    if not request.quiet:
        note("kon: there are no items, so there is nothing to do")
    if request.as_json:
        print_rows("map", [])


def _run(command: str, items: Sequence[Item], commands: Commands, request: MapRequest) -> bool:
    """Whether every command was done."""
    watched = request.delay_s or request.load is not None or request.memfree is not None
    together = bool(watched) or commands.template.uses_slot or len(items) <= FEW_ITEMS
    slots = Slots(_wanted(request, len(items)), in_one_process=together)
    if slots.all < slots.wanted and not request.quiet:
        note(
            f"kon: {slots.wanted:,} commands at once need more open files than this system allows "
            f"(ulimit -Hn); {slots.all:,} run at once"
        )
    planned = make_plan(
        command,
        items,
        _kind_options(request),
        slots=slots,
        strategy=request.strategy,
        attempts=request.attempts,
        timeout_s=request.timeout_s,
        drain_s=_DRAIN_S[request.halt.when],
        halts=request.halt.when != "never",
        out=None if request.out is None else request.out.absolute(),
        rerun_failed=request.resume_failed,
    )
    return MapRun(planned, items, commands, request).to_its_end()


def _kind_options(request: MapRequest) -> dict[str, Any]:
    """Options of the kind `shell`, without the command. Only what was asked for, as they are recorded."""
    given: dict[str, Any] = {
        "positions": True,
        "max_output_bytes": INLINE_BYTES if request.max_output_bytes is None else request.max_output_bytes,
    }
    here: dict[str, Any] = {} if request.max_output_bytes is not None else {"keep": "output"}
    if request.is_live:
        mode = "lines" if request.line_buffer else "chunks"
        here.update(live="live", mode=mode, tag=request.tag)
    if here:
        given["here"] = here
    if request.stdin == "item":
        given["stdin_item"] = True
    elif request.stdin is not None:
        given["stdin_file"] = os.path.abspath(request.stdin)  # noqa: PTH100 - where commands run matters not
    if request.shell != DEFAULT_SHELL:
        given["shell"] = shutil.which(request.shell)
    if request.workdir is not None:
        given["cwd"] = str(request.workdir.absolute())
    if request.delay_s:
        given["delay_s"] = request.delay_s
    if request.load is not None:
        given["max_load"] = request.load.of(processors())
    if request.memfree is not None:
        given["min_free_bytes"] = request.memfree
    return given
