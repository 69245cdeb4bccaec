"""The options of `kon map`, by xargs' and GNU parallel's names, and a word on those that are not taken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import click

from kon.cli.map_values import (
    CountType,
    DelimiterType,
    Halt,
    HaltType,
    Jobs,
    JobsType,
    LoadLimit,
    LoadType,
    SecondsType,
    SizeType,
)
from kon.cli.output import json_option, quiet_option, two_things
from kon.kinds.command import DEFAULT_SHELL

MOST_OUTPUT_BYTES: Final = 1_000_000
"""Limit for stdout and for stderr: as JSON each may be six times as long, and both have to fit a message."""


class MapRequest(NamedTuple):
    """What was asked for on the command line, besides the command and its items."""

    arg_files: tuple[str, ...]
    null: bool
    delimiter: bytes | None
    colsep: str | None
    most_items: int | None
    spread_items: bool
    replace: str | None
    no_run_if_empty: bool
    jobs: Jobs | None
    delay_s: float
    load: LoadLimit | None
    memfree: int | None
    keep_order: bool
    tag: bool
    line_buffer: bool
    ungroup: bool
    results: Path | None
    max_output_bytes: int | None
    progress: bool
    dry_run: bool
    stdin: str | None
    shell: str
    workdir: Path | None
    tmpdir: Path | None
    attempts: int
    timeout_s: float | None
    halt: Halt
    joblog: Path | None
    out: Path | None
    resume: bool
    resume_failed: bool
    strategy: str
    as_json: bool
    quiet: bool

    @property
    def is_live(self) -> bool:
        """Whether output is shown as it comes."""
        return self.line_buffer or self.ungroup

    @property
    def resumes(self) -> bool:
        return self.resume or self.resume_failed

    @property
    def item_delimiter(self) -> bytes:
        return b"\0" if self.null else self.delimiter or b"\n"


_INSTEAD: Final = (
    # xargs
    ("no item ends the input early", "-E -e --eof"),
    ("items are whole lines, or what --delimiter says; -n takes several", "-L -l --max-lines --trim"),
    ("write -I '{}', or nothing: {} is the default", "-i"),
    ("nothing is asked; see --dry-run", "-p --interactive"),
    ("commands have no terminal; see --stdin", "-o --open-tty"),
    (
        "a command takes up to 128 KiB of items; -n for fewer",
        "-s --max-chars -x --exit --show-limits --max-line-length-allowed",
    ),
    ("see --dry-run and --joblog", "-t --verbose -v"),
    ("commands have {%}, the slot, and {#}, the number", "--process-slot-var --seqreplace"),
    # GNU parallel
    (
        "a command reads a file or its item: --stdin",
        "--pipe --spreadstdin --pipepart --pipe-part --block "
        "--round-robin --recstart --recend --cat --fifo --tee",
    ),
    (
        "hosts reach one backend; see `kon run` and docs/first-fleet.md",
        "-S --sshlogin --sshloginfile --slf --onall --nonall "
        "--transferfile --return --trc --cleanup --basefile --filter-hosts",
    ),
    ("commands have the whole environment; a function of bash needs `export -f`", "--env --session"),
    ("write :::+ between the sources", "--link --xapply"),
    ("leave the first line out with `tail -n +2`; columns are {1}, {2}", "--header --skip-first-line"),
    ("the shell can cut the item: ${KON_ITEM%%.*}", "--plus --rpl"),
    ("--tag prints the item before each line", "--tagstring --color --ctag"),
    ("output is grouped by default; see --line-buffer", "--group -g"),
    ("items are never code; see --dry-run", "--quote"),
    ("with --out DIR Ctrl-C leaves the run in the background", "--bg"),
    ("it waits for its commands; see --out", "--fg --wait"),
    ("flock is for locks", "--semaphore --sem"),
    ("write `nice` before the command", "--nice"),
    ("shuf FILE | kon map ...", "--shuf"),
    ("records are in --out DIR; see kon results", "--sql --sqlandworker --sqlmaster --sqlworker"),
    ("--colsep , cuts at each comma, also in quotes", "--csv"),
    ("write --resume-failed, with the same items", "--retry-failed"),
    ("see --memfree and --load", "--noswap --limit"),
    ("--timeout and --halt send SIGTERM, and SIGKILL 2 s later", "--termseq"),
    ("there is nothing to be cited; leave it out", "--will-cite --no-notice --citation"),
    ("`kon --version` tells", "--minversion"),
    ("a shell's alias does it", "--profile -J --combineexec --embed"),
    ("--line-buffer prints lines as they come", "--tmux --latest-line --ll --linebuffer"),
    ("--results DIR keeps each output in a file", "--files --compress"),
    (
        "-j goes by the processors that it may use",
        "--number-of-cores --number-of-cpus --use-cpus-instead-of-cores",
    ),
    ("separators are :::, :::+, :::: and ::::+", "--arg-sep --arg-file-sep"),
    ("write the file before the command", "--template"),
)
"""What there is in place of options of xargs and GNU parallel that kon map does not take."""
NOT_TAKEN: Final = {name: instead for instead, names in _INSTEAD for name in names.split()}
"""Options of xargs and GNU parallel that kon map does not take, and what there is instead."""


class MapCommand(click.Command):
    """Says why an option of xargs' or GNU parallel's is not taken, and what does it instead."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            hint = NOT_TAKEN.get(error.option_name)
            if hint is None:
                raise
            raise click.UsageError(f"kon map does not take {error.option_name}: {hint}", ctx) from None


def check(request: MapRequest) -> None:
    """Raises UsageError for options that contradict each other."""
    for pair, both in (
        (("--null", "--delimiter"), request.null and request.delimiter is not None),
        (("--keep-order", "--line-buffer"), request.keep_order and request.is_live),
        (("--line-buffer", "--ungroup"), request.line_buffer and request.ungroup),
        (("--tag", "--ungroup"), request.tag and request.ungroup),
        (("--json", "--line-buffer"), request.as_json and request.is_live),
        (("--json", "--tag"), request.as_json and request.tag),
        (("--json", "--keep-order"), request.as_json and request.keep_order),
        (("--quiet", "--progress"), request.quiet and request.progress),
        (("--json", "--dry-run"), request.as_json and request.dry_run),
        (("--colsep", "--max-args"), request.colsep is not None and request.most_items is not None),
        (("--colsep", "-X"), request.colsep is not None and request.spread_items),
        (("--replace", "--max-args"), request.replace is not None and request.most_items is not None),
    ):
        if both:
            raise two_things(*pair)
    if request.resumes and request.out is None and request.joblog is None:
        raise click.UsageError("--resume: with --out or --joblog, which say what is done already")
    if request.resumes and request.dry_run:
        raise click.UsageError(
            "--dry-run prints all commands, also those that --resume would leave out; give one of them"
        )
    if request.workdir is not None and not request.workdir.is_dir():
        raise click.UsageError(f"--workdir {request.workdir}: there is no such folder")
    if request.tmpdir is not None and not request.tmpdir.is_dir():
        raise click.UsageError(f"--tmpdir {request.tmpdir}: there is no such folder")


_path = click.Path(path_type=Path)

_OPTIONS: Final = (
    click.option(
        "-a",
        "--arg-file",
        "arg_files",
        multiple=True,
        metavar="FILE",
        help="Items from a file, one a line; - for stdin. As ::::.",
    ),
    click.option("-0", "--null", is_flag=True, help="Items in files and on stdin end with NUL."),
    click.option(
        "-d", "--delimiter", type=DelimiterType(), metavar="C", help="They end with this character."
    ),
    click.option(
        "-C", "--colsep", metavar="REGEX", help="Cut each line into columns, which are {1}, {2}, ..."
    ),
    click.option(
        "-n",
        "-N",
        "--max-args",
        "--max-replace-args",
        "most_items",
        type=CountType(),
        metavar="N",
        help="Up to N items for a command.",
    ),
    click.option(
        "-X",
        "-m",
        "--xargs",
        "spread_items",
        is_flag=True,
        help="As many items for a command as fit, shared by the slots.",
    ),
    click.option("-I", "--replace", metavar="TEXT", help="What stands for the item, in place of {}."),
    click.option(
        "-r", "--no-run-if-empty", is_flag=True, help="Nothing is run without items; as it always is."
    ),
    click.option(
        "-j",
        "-P",
        "--jobs",
        "--max-procs",
        "--slots",
        "jobs",
        type=JobsType(),
        metavar="N",
        help="Commands at once: 8, 0 (as many as items), 50%, +1.  [default: the processors]",
    ),
    click.option(
        "--delay",
        "delay_s",
        type=SecondsType(above_zero=False),
        default=0.0,
        metavar="S",
        help="Seconds between two starts.",
    ),
    click.option("--load", type=LoadType(), metavar="N", help="Start none while the load is higher: 8, 90%."),
    click.option(
        "--memfree", type=SizeType(), metavar="SIZE", help="Start none while less memory is free: 2G."
    ),
    click.option(
        "-k", "--keep-order", is_flag=True, help="Print in the order of the items, not of the ends."
    ),
    click.option("--tag", is_flag=True, help="Print the item and a tab before each line of its output."),
    click.option("--line-buffer", "--lb", is_flag=True, help="Print lines as they come."),
    click.option("-u", "--ungroup", is_flag=True, help="Print output as it comes, mixed as it may be."),
    click.option(
        "--results",
        "--res",
        type=_path,
        metavar="DIR",
        help="Keep each output in DIR/NUMBER/stdout and stderr.",
    ),
    click.option(
        "--max-output",
        "max_output_bytes",
        type=click.IntRange(0, MOST_OUTPUT_BYTES),
        metavar="BYTES",
        help="Leave out the middle of output that is longer.  [default: print all]",
    ),
    click.option(
        "--eta",
        "--bar",
        "--progress",
        "progress",
        is_flag=True,
        help="Tell how far it is off a terminal too; on one it is always told.",
    ),
    click.option("--dry-run", "--dryrun", is_flag=True, help="Print the commands, and run none."),
    click.option("--stdin", metavar="FILE|item", help="What each command reads: a file, or its item."),
    click.option(
        "--shell",
        default=DEFAULT_SHELL,
        show_default=True,
        metavar="SHELL",
        help="What runs the commands: bash.",
    ),
    click.option("--workdir", "--wd", type=_path, metavar="DIR", help="The folder that commands run in."),
    click.option("--tmpdir", type=_path, metavar="DIR", help="Where kon keeps what is not printed yet."),
    click.option(
        "--attempts",
        "--retries",
        type=click.IntRange(1, 32),
        default=1,
        show_default=True,
        metavar="N",
        help="How often a command that fails is tried in all.",
    ),
    click.option(
        "--timeout",
        "timeout_s",
        type=SecondsType(above_zero=True),
        metavar="S",
        help="Seconds that a command may take: 90, 2m.",
    ),
    click.option(
        "--halt",
        type=HaltType(),
        default="never",
        show_default=True,
        metavar="WHEN",
        help="After a failure start no more (soon), stop what runs too (now); soon,fail=3, now,fail=10%.",
    ),
    click.option("--joblog", type=_path, metavar="FILE", help="Log as GNU parallel does."),
    click.option("--out", type=_path, metavar="DIR", help="Keep all records in a folder."),
    click.option("--resume", is_flag=True, help="Run what is not yet recorded in --out, or in --joblog."),
    click.option("--resume-failed", is_flag=True, help="The same, and what is recorded as failed again."),
    click.option("--strategy", default="lease", show_default=True, help="How repeats are kept from running."),
    json_option,
    quiet_option,
)

_Command = TypeVar("_Command", bound=Callable[..., Any])


def map_options(command: _Command) -> _Command:
    """All options, in the order in which help shows them."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
