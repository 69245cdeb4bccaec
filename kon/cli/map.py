"""`kon map`: a command for each of many items, for people who know xargs or GNU parallel."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import click

from kon.api.begin import Plan, begin, processors
from kon.api.handle import Run
from kon.cli.joblog import JobLog, read_joblog
from kon.cli.map_command import Commands
from kon.cli.map_items import read_items, split_command
from kon.cli.map_line import EVERY_S, ProgressLine
from kon.cli.map_output import Printer
from kon.cli.map_plan import make_plan
from kon.cli.output import json_option, note, print_rows, quiet_option
from kon.core.errors import ConfigurationError, Interrupted
from kon.core.task import Outcome, State
from kon.engine.client import Tally
from kon.engine.records.records import RunFolder
from kon.report.read.tail import Tail

Halt = Literal["never", "soon", "now"]

_DRAIN_S: Final[dict[str, float]] = {"never": 0.0, "soon": 604_800.0, "now": 0.0}
"""How long commands that run go on when no more are started."""

MOST_OUTPUT_BYTES: Final = 1_000_000
"""Of stdout and of stderr: as JSON each may be six times as long, and both must fit into one message."""


class Request(NamedTuple):
    """What was asked for on the command line, beside the command and its items."""

    slots: int
    attempts: int
    timeout_s: float | None
    strategy: str
    halt: Halt
    out: Path | None
    joblog: Path | None
    resume: bool
    resume_failed: bool
    keep_order: bool
    tag: bool
    max_output_bytes: int
    as_json: bool
    quiet: bool


@click.command("map", context_settings={"allow_interspersed_args": False})
@click.argument("words", metavar="COMMAND [ITEMS...]", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("-a", "--arg-file", metavar="FILE", help="Read the items from a file, one a line; - for stdin.")
@click.option("-0", "--null", is_flag=True, help="Items that are read end with NUL, as from find -print0.")
@click.option(
    "-j",
    "--slots",
    type=click.IntRange(1, 10_000),
    metavar="N",
    help="Commands at once.  [default: the number of processors]",
)
@click.option("-k", "--keep-order", is_flag=True, help="Print in the order of the items, not of the ends.")
@click.option("--tag", is_flag=True, help="Print the item and a tab before each line of its output.")
@click.option("-n", "--dry-run", is_flag=True, help="Print the commands, and run none.")
@click.option(
    "--attempts",
    type=click.IntRange(1, 32),
    default=1,
    show_default=True,
    metavar="N",
    help="How often a command that fails is tried.",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(0, 604_800, min_open=True),
    metavar="S",
    help="Seconds that a command may take.",
)
@click.option(
    "--halt",
    type=click.Choice(["never", "soon", "now"]),
    default="never",
    show_default=True,
    help="After the first that failed: start no more (soon), stop those that run as well (now).",
)
@click.option("--joblog", type=click.Path(path_type=Path), metavar="FILE", help="Log as GNU parallel does.")
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Keep all records in a folder.")
@click.option("--resume", is_flag=True, help="Run what is not yet recorded in --out, or in --joblog.")
@click.option("--resume-failed", is_flag=True, help="The same, and what is recorded as failed again.")
@click.option("--strategy", default="lease", show_default=True, help="How repeats are kept from running.")
@click.option(
    "--max-output",
    "max_output_bytes",
    type=click.IntRange(0, MOST_OUTPUT_BYTES),
    default=MOST_OUTPUT_BYTES,
    metavar="BYTES",
    help="Kept of a command's stdout, and of its stderr.  [default and most: 1000000]",
)
@json_option
@quiet_option
@click.pass_context
def map_(
    ctx: click.Context,
    /,
    words: Sequence[str],
    arg_file: str | None,
    null: bool,
    dry_run: bool,
    slots: int | None,
    **options: Any,
) -> None:
    """Run COMMAND once for each item, several at a time, each once in effect.

    COMMAND is one word, so quote it. {} in it stands for the item, as one word whatever characters that
    has; {.} for the item without extension, {/} without folder, {/.} without both, {//} for its folder and
    {#} for its number, from 1. Without any of these the item comes last. What follows COMMAND is items, as
    it stands; without any, they are read from standard input, one a line.

    \b
      kon map 'gzip -k {}' *.log
      find . -name '*.wav' -print0 | kon map -0 'flac -s {} -o {.}.flac'
      kon map --out runs/thumbs 'convert {} -resize 200 thumbs/{/}' photos/*.jpg

    What a command prints is printed when it has ended, whole. Exit code: 0 when every command ended
    with 0; 1 when not; 2 when nothing was run because it can't be.
    """
    command, items = split_command(words)
    if items and arg_file is not None:
        raise click.UsageError("items on the command line and --arg-file: which of the two?")
    found: Sequence[str] = items or read_items(arg_file, null)
    request = Request(slots=slots or processors(), **options)
    commands = Commands(command, found)
    if dry_run:
        _dry_run(commands, len(found))
    elif not found:
        _say_nothing_to_do(request)
    else:
        ctx.exit(0 if _run(command, found, commands, request) else 1)


def _dry_run(commands: Commands, count: int) -> None:
    out = sys.stdout.buffer
    for index in range(count):
        out.write(commands[index] + b"\n")
    out.flush()


def _say_nothing_to_do(request: Request) -> None:
    if not request.quiet:
        note("kon: there are no items, so there is nothing to do")
    if request.as_json:
        print_rows("map", [])


def _run(command: str, items: Sequence[str], commands: Commands, request: Request) -> bool:
    """Whether every command was done."""
    planned = make_plan(
        command,
        items,
        slots=request.slots,
        strategy=request.strategy,
        attempts=request.attempts,
        timeout_s=request.timeout_s,
        drain_s=_DRAIN_S[request.halt],
        max_output_bytes=request.max_output_bytes,
        out=None if request.out is None else request.out.absolute(),
        rerun_failed=request.resume_failed,
    )
    recorded = _recorded(planned, commands, len(items), request)
    known = {outcome.index for outcome in recorded if _stands(outcome, request)}
    joblog = _joblog(commands, recorded, len(items), request)
    printer = None if request.as_json else Printer(items, keep_order=request.keep_order, tag=request.tag)
    run = begin(planned, () if planned.out else recorded)
    tail = Tail(RunFolder(run.path), run.tasks)
    handlers = _as_interrupts()
    try:
        _follow(run, tail, known, printer, joblog, request)
        if request.as_json:
            from kon.report.summary import summarise

            print_rows(planned.spec.experiment, [summarise(RunFolder(run.path))])
    except KeyboardInterrupt:
        raise Interrupted(_after_interrupt(run, tail.tally, request)) from None
    except BrokenPipeError:
        run.leave()
        raise
    finally:
        if joblog is not None:
            joblog.close()
        if not run.is_kept:
            run.discard()
        for number, handler in handlers.items():
            signal.signal(number, handler)
    _say_what_failed(tail.tally, run, request)
    return tail.tally.counts[State.DONE] == run.tasks


def _recorded(planned: Plan, commands: Commands, items: int, request: Request) -> list[Outcome]:
    """What is known of this run's tasks from before, and is not to be printed again.

    Raises ConfigurationError where there is something, and nobody asked to go on with it.
    """
    resume = request.resume or request.resume_failed
    if planned.out is not None:
        folder = RunFolder(planned.out / planned.spec.run)
        if not folder.exists:
            return []
        if not resume:
            raise ConfigurationError(
                f"--out {request.out} holds a run {folder.path.name} already; nothing was run. Go on with it "
                "by --resume, or name a new folder"
            )
        return [outcome for _, outcome in folder.outcomes()]
    if not resume:
        return []
    if request.joblog is None:
        raise click.UsageError("--resume: with --out or --joblog, which say what is done already")
    return [
        Outcome(entry.task, 1, State.DONE)
        if entry.ok
        else Outcome(entry.task, 1, State.FAILED, None, "failed before, as the job log says")
        for entry in read_joblog(request.joblog, commands, items)
        if entry.ok or not request.resume_failed
    ]


def _as_interrupts() -> dict[signal.Signals, Any]:
    """Have the other signals that end a program end this one as Ctrl-C does: its workers would not hear of
    them, and run what is queued to its end. Returns what there was before; what is ignored stays so."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    for number, handler in before.items():
        if handler is signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)
    return before


def _stands(outcome: Outcome, request: Request) -> bool:
    """Whether a task that is recorded is not run again."""
    return outcome.state is State.DONE or not (request.resume_failed or outcome.state is State.CANCELLED)


def _joblog(commands: Commands, recorded: Sequence[Outcome], items: int, request: Request) -> JobLog | None:
    """The job log, with a line for each task that is recorded; a crash may have left some out."""
    if request.joblog is None:
        return None
    if not (request.resume or request.resume_failed):
        return JobLog(request.joblog, commands, append=False)
    logged = {entry.task for entry in read_joblog(request.joblog, commands, items)}
    joblog = JobLog(request.joblog, commands, append=True)
    for outcome in recorded:
        if outcome.index not in logged and outcome.state is not State.CANCELLED:
            joblog.add(outcome)
    return joblog


def _follow(
    run: Run,
    tail: Tail,
    known: Collection[int],
    printer: Printer | None,
    joblog: JobLog | None,
    request: Request,
) -> None:
    """Print and log what ends, until all has ended."""
    line = ProgressLine(quiet=request.quiet, before=len(known))
    try:
        for news in run.follow(tail, lambda: EVERY_S if line.is_shown else None):
            fresh = [outcome for outcome in news if outcome.index not in known]
            line.clear()
            if printer is not None:
                printer.skip(outcome for outcome in news if outcome.index in known)
                printer.print(fresh)
            for outcome in fresh:
                if joblog is not None and outcome.state is not State.CANCELLED:
                    joblog.add(outcome)
            if request.halt != "never" and any(outcome.state is not State.DONE for outcome in fresh):
                run.call_off()
            line.update(tail.tally)
    finally:
        line.clear()
    run.finish()


def _say_what_failed(tally: Tally, run: Run, request: Request) -> None:
    bad = {state: count for state, count in tally.counts.items() if count and state is not State.DONE}
    if not bad or request.quiet:
        return
    told = ", ".join(f"{count:,} {state}" for state, count in bad.items())
    where = f" (kon results {run.path} --failed)" if run.is_kept else ""
    note(f"kon: of {tally.tasks:,} tasks {told}{where}")


def _after_interrupt(run: Run, tally: Tally, request: Request) -> str:
    """What became of a run at Ctrl-C; leaves it to its workers where its records are kept."""
    ended = f"interrupted with {tally.tasks - tally.left:,} of {tally.tasks:,} tasks ended"
    if run.leave():
        return f"{ended}; the others go on in the background. To see them end: {_resuming()}"
    if request.joblog is not None:
        return f"{ended}; those that ran were stopped. To run the rest: {_resuming()}"
    return (
        f"{ended}; those that ran were stopped, and of the others nothing is recorded. With --out DIR they "
        "would have gone on, and --resume could take them up"
    )


def _resuming() -> str:
    """The command line of this process, as one that takes up what it leaves."""
    words = sys.argv[1:]
    at = words.index("map") + 1 if "map" in words else 0
    if "--resume" not in words[at:] and "--resume-failed" not in words[at:]:
        words.insert(at, "--resume")
    text = shlex.join(["kon", *words])
    return text if len(text) <= _LONGEST_HINT else "kon map --resume, and the rest as it was"


_LONGEST_HINT: Final = 1_000
