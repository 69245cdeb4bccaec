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
    Load,
    LoadType,
    SecondsType,
    SizeType,
)
from kon.cli.output import json_option, quiet_option
from kon.kinds.command import DEFAULT_SHELL

MOST_OUTPUT_BYTES: Final = 1_000_000
"""Limit for stdout and for stderr: as JSON each may be six times as long, and both have to fit a message."""


class Request(NamedTuple):
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
    load: Load | None
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


def check(request: Request) -> None:
    """Raises UsageError for options that contradict each other."""
    for pair, both in (
        (("--null", "--delimiter"), request.null and request.delimiter is not None),
        (("--keep-order", "--line-buffer"), request.keep_order and request.is_live),
        (("--line-buffer", "--ungroup"), request.line_buffer and request.ungroup),
        (("--tag", "--ungroup"), request.tag and request.ungroup),
        (("--json", "--line-buffer"), request.as_json and request.is_live),
        (("--colsep", "--max-args"), request.colsep is not None and request.most_items is not None),
        (("--colsep", "-X"), request.colsep is not None and request.spread_items),
        (("--replace", "--max-args"), request.replace is not None and request.most_items is not None),
    ):
        if both:
            raise click.UsageError(f"{pair[0]} and {pair[1]} ask for two things; give one of them")
    if request.resumes and request.out is None and request.joblog is None:
        raise click.UsageError("--resume: with --out or --joblog, which say what is done already")
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


_OWN_LINES: Final = "items are one a line, or what --delimiter says; quotes and blanks in them are kept"
_HOSTS: Final = "hosts have a backend that they reach; see `kon run` and docs/first-fleet.md"
_PIPE: Final = "a command reads a whole file or an item: --stdin"
_ORDER_OF_STARTS: Final = "commands start in the order of the items"

NOT_TAKEN: Final[dict[str, str]] = {
    # xargs
    "-E": "no item ends the input early",
    "-e": "no item ends the input early",
    "--eof": "no item ends the input early",
    "-L": f"{_OWN_LINES}. For several lines a command: -n",
    "-l": f"{_OWN_LINES}. For several lines a command: -n",
    "--max-lines": f"{_OWN_LINES}. For several lines a command: -n",
    "-i": "write -I '{}', or nothing: {} is the default",
    "-p": "nothing is asked. --dry-run shows the commands",
    "--interactive": "nothing is asked. --dry-run shows the commands",
    "-o": "commands have no terminal to read from. Read from a file: --stdin FILE",
    "--open-tty": "commands have no terminal to read from. Read from a file: --stdin FILE",
    "-s": "a command takes up to 128 KiB of items. For fewer: -n",
    "--max-chars": "a command takes up to 128 KiB of items. For fewer: -n",
    "-t": "--dry-run shows the commands before, and --joblog FILE writes down those that ended",
    "--verbose": "--dry-run shows the commands before, and --joblog FILE writes down those that ended",
    "-v": "--dry-run shows the commands before, and --joblog FILE writes down those that ended",
    "-x": "a command takes up to 128 KiB of items, and a longer one is refused",
    "--exit": "a command takes up to 128 KiB of items, and a longer one is refused",
    "--show-limits": "a command takes up to 128 KiB of items",
    "--process-slot-var": "the number of the slot is {%} in the command",
    # GNU parallel
    "--pipe": _PIPE,
    "--spreadstdin": _PIPE,
    "--pipepart": _PIPE,
    "--pipe-part": _PIPE,
    "--block": _PIPE,
    "--round-robin": _PIPE,
    "--recstart": _PIPE,
    "--recend": _PIPE,
    "--cat": _PIPE,
    "--fifo": _PIPE,
    "--tee": _PIPE,
    "-S": _HOSTS,
    "--sshlogin": _HOSTS,
    "--sshloginfile": _HOSTS,
    "--slf": _HOSTS,
    "--onall": _HOSTS,
    "--nonall": _HOSTS,
    "--transferfile": _HOSTS,
    "--return": _HOSTS,
    "--trc": _HOSTS,
    "--cleanup": _HOSTS,
    "--basefile": _HOSTS,
    "--filter-hosts": _HOSTS,
    "--env": "commands have the whole environment of kon map",
    "--link": "write :::+ between the sources that are linked",
    "--xapply": "write :::+ between the sources that are linked",
    "--header": "write {1}, {2} for the columns, and leave the first line out with `tail -n +2`",
    "--trim": _OWN_LINES,
    "--plus": "$KON_ITEM holds the item, and the shell can cut it: ${KON_ITEM%%.*}",
    "--rpl": "$KON_ITEM holds the item, and the shell can cut it: ${KON_ITEM%%.*}",
    "--tagstring": "--tag prints the item before each line",
    "--group": "output is grouped by default; see --line-buffer",
    "-g": "output is grouped by default; see --line-buffer",
    "--quote": "a command of one word is for the shell, and items are never code; see --dry-run",
    "--bg": "with --out DIR Ctrl-C leaves the run in the background; kon status tells how far it is",
    "--fg": "it runs in the foreground; see --out",
    "--semaphore": "kon map runs a command for each item; for a lock there is flock",
    "--sem": "kon map runs a command for each item; for a lock there is flock",
    "--nice": "write `nice` before the command",
    "--shuf": f"{_ORDER_OF_STARTS}. For another one: shuf FILE | kon map ...",
    "--sql": "the records of a run are in --out DIR; see kon results",
    "--sqlandworker": "the records of a run are in --out DIR; see kon results",
    "--sqlmaster": "the records of a run are in --out DIR; see kon results",
    "--sqlworker": "the records of a run are in --out DIR; see kon results",
    "--csv": "--colsep , cuts at each comma, also in quotes",
    "--retry-failed": "write --resume-failed, with the same command and items",
    "--noswap": "see --memfree and --load",
    "--limit": "see --memfree and --load",
    "--termseq": "--timeout and --halt send SIGTERM, and SIGKILL 2 s later",
    "--will-cite": "there is nothing to be silenced; leave it out",
    "--citation": "there is nothing to be cited",
    "--no-notice": "there is nothing to be silenced; leave it out",
    "--minversion": "`kon --version` tells",
    "--profile": "a shell's alias does it",
    "-J": "a shell's alias does it",
    "--tmux": "--line-buffer prints lines as they come",
    "--latest-line": "--line-buffer prints lines as they come",
    "--ll": "--line-buffer prints lines as they come",
    "--files": "--results DIR keeps each output in a file",
    "--compress": "output waits uncompressed; see --tmpdir",
    "--max-line-length-allowed": "a command takes up to 128 KiB of items",
    "--number-of-cores": "nproc tells; -j 100% is as many",
    "--number-of-cpus": "nproc tells; -j 100% is as many",
    "--linebuffer": "write --line-buffer",
    "--arg-sep": "separators are :::, :::+, :::: and ::::+",
    "--arg-file-sep": "separators are :::, :::+, :::: and ::::+",
    "--skip-first-line": "leave the first line out with `tail -n +2`",
    "--use-cpus-instead-of-cores": "-j goes by the processors that this program may use",
    "--seqreplace": "the number of a task is {#}",
    "--wait": "kon map waits for its commands",
    "--color": "see --tag",
    "--ctag": "see --tag",
    "--combineexec": "a shell's alias does it",
    "--embed": "a shell's alias does it",
    "--session": "commands have the whole environment of kon map; a function of bash needs `export -f`",
    "--template": "write the file before the command",
}
"""Options of xargs and GNU parallel that kon map does not take, and what there is instead."""
