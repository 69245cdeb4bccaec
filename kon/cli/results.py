"""`kon results`"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final

import click
import msgspec

from kon.cli.kept import STDOUT, print_kept
from kon.cli.output import is_given, note, two_things
from kon.cli.runs import find_run, root_option, run_argument
from kon.core.errors import counted
from kon.core.task import State, task_id
from kon.engine.records.records import RunFolder
from kon.kinds.capture import kept_file
from kon.report import frames
from kon.report.frames import WRITERS
from kon.report.read.reader import Standing, standing

AT_ONCE: Final = 1_000
"""Lines that are written together."""

_IN_TEXT: Final = 6
"""Columns in text: the first of all that there are."""


@click.command()
@run_argument
@click.option("--failed", is_flag=True, help="Only tasks that are not done.")
@click.option(
    "--format",
    "style",
    type=click.Choice(["text", "jsonl", *WRITERS]),
    default="text",
    show_default=True,
    help="text: tabs between the columns; jsonl, csv: with times; parquet, arrow: for data frames, files.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format jsonl.")
@click.option(
    "--stdout", "output", is_flag=True, help="Print what shell tasks wrote to stdout, and nothing else."
)
@click.option(
    "--links",
    is_flag=True,
    help="Print the links in results; renew those that expired, in links.tsv too.",
)
@click.option(
    "--objects", is_flag=True, help="Print what tasks have stored at Amazon, and whether it is here."
)
@root_option
@click.pass_context
def results(
    ctx: click.Context,
    run: str,
    failed: bool,
    style: str,
    as_json: bool,
    output: bool,
    links: bool,
    objects: bool,
    root: Path,
) -> None:
    """Print what became of each task of RUN, a line each, in order of tasks: its id, state, attempt,
    worker, result (as JSON) and error.

    For a run that goes on, it prints what is there so far. With --stdout the captured output of shell tasks
    is printed as it was written, one task after another.

    \b
    Examples:
      kon results exp-lease-w1-r1 --failed
      kon results exp-lease-w1-r1 --json | jq .result
      kon results exp-lease-w1-r1 --stdout > all.txt
      kon results exp-lease-w1-r1 --format parquet > all.parquet
      kon results animoto-lease-w2-r1 --links
    """
    _refuse_two(ctx)
    folder = find_run(run, root)
    if objects:
        from kon.cli.links import object_lines  # this and link_lines load botocore, which takes a while

        _print_lines(object_lines(folder))
        return
    outcomes = _outcomes(folder, failed)
    if style in WRITERS and not (output or links or as_json):
        _write(style, frames.rows(folder, failed=failed))
    elif output:
        _print_output(folder, outcomes)
    elif links:
        from kon.cli.links import link_lines

        _print_lines(link_lines(folder, outcomes, whole=not failed))
    elif as_json or style == "jsonl":
        _print_lines(_json_line(folder, each) for each in outcomes)
    else:
        lines = _print_lines(_text_lines(frames.rows(folder, failed=failed)))
        if not lines:
            none = "no task is failed, dead or lost" if failed else "no task has an outcome yet"
            note(f"{none} in {folder.path.name}")


def _outcomes(folder: RunFolder, failed: bool) -> Iterator[Standing]:
    found = standing(folder, folder.read_run().spec.tasks)
    return (each for each in found if each.outcome.state is not State.DONE) if failed else found


def _json_line(folder: RunFolder, each: Standing) -> str:
    outcome = each.outcome
    line = {
        "index": outcome.index,
        "id": task_id(folder.path.name, outcome.index),
        "state": outcome.state.value,
        "attempt": outcome.attempt,
        "worker": each.worker,
        "result": outcome.result,
        "error": outcome.error,
        "started_s": outcome.started_s,
        "ended_s": outcome.ended_s,
    }
    return msgspec.json.encode(line).decode()


def _text_lines(rows: Iterable[frames.Row]) -> Iterator[str]:
    for row in rows:
        *others, error = row[:_IN_TEXT]
        # JSON has no tab or line end in it; an error is a line by itself, or nearly so
        others.append(" ".join((error or "").split()))
        yield "\t".join("" if value is None else str(value) for value in others)


_KINDS: Final = {
    "output": "--stdout",
    "links": "--links",
    "objects": "--objects",
    "as_json": "--json",
    "style": "--format",
}
"""What is printed; of two of these one would be passed over."""


def _refuse_two(ctx: click.Context) -> None:
    given = [option for name, option in _KINDS.items() if is_given(ctx, name)]
    if len(given) > 1 and given != ["--json", "--format"]:  # --format jsonl asks for what --json does
        raise two_things(given[0], given[1], ctx)
    if ctx.params["objects"] and ctx.params["failed"]:
        raise two_things("--objects", "--failed", ctx)


def _write(style: str, rows: Iterable[frames.Row]) -> None:
    """Raises UsageError for a terminal, which can't show it."""
    if style != "csv" and sys.stdout.isatty():
        raise click.UsageError(f"--format {style} is not for a terminal: send it to a file, with > FILE")
    WRITERS[style](rows, sys.stdout.buffer)
    sys.stdout.buffer.flush()


def _print_output(folder: RunFolder, outcomes: Iterable[Standing]) -> None:
    cut = without = 0
    for each in outcomes:
        result = each.outcome.result
        if not isinstance(result, dict) or not isinstance(result.get("stdout"), str):
            without += 1
        elif (kept := kept_file(result, "stdout", folder.path)) is not None:
            sys.stdout.flush()
            print_kept(kept, sys.stdout.buffer, STDOUT)
        else:
            cut += "stdout_bytes" in result
            click.echo(result["stdout"], nl=False)
    if without:
        note(f"{counted(without, 'task')} without output: not of the kind shell, or not run to an end")
    if cut:
        note(f"the output of {counted(cut, 'task')} was over max_output_bytes, and its middle is left out")


def _print_lines(lines: Iterable[str]) -> int:
    """How many there were."""
    rest, count = iter(lines), 0
    while part := list(islice(rest, AT_ONCE)):
        count += len(part)
        click.echo("\n".join(part))
    return count
