"""What goes to stdout, what is said on stderr, and files that a command writes for a person."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final

import click
import msgspec
from click.core import ParameterSource

from kon.core.errors import ConfigurationError, KonError
from kon.engine.watchers import logs

JSON_SCHEMA: Final = 1
"""Version of the objects that --json prints; raised when a name in them changes its meaning or goes."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object, and nothing else.")

FORMATS: Final = ("plain", "github", "latex", "csv", "json")

format_option = click.option(
    "--format",
    "style",
    type=click.Choice(FORMATS),
    default="plain",
    show_default=True,
    help="Format of the table. csv and json have every value, unrounded; latex needs the package booktabs.",
)

wide_option = click.option(
    "--wide", is_flag=True, help="Draw tables with all their columns, however narrow the terminal is."
)

reference_option = click.option(
    "--reference",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file with other systems' figures, to stand next to those of runs without faults; "
    "workloads/published.yml of kon's sources is one.",
)

quiet_option = click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors on stderr.")


def note(text: str) -> None:
    """Say something to a person: data goes to stdout, talk to stderr. With --log-format json to a program."""
    if logs.is_json():
        _log.info(text)
    else:
        click.echo(text, err=True)


def told(failures: Iterable[KonError]) -> int:
    """Say what went wrong with single ones of several things; the exit code: the highest of theirs, or 0."""
    codes = [0]
    for error in failures:
        note(f"kon: {error}")
        codes.append(error.exit_code)
    return max(codes)


def warn(text: str) -> None:
    """Say on stderr what may be wrong."""
    if logs.is_json():
        _log.warning(text)
    else:
        click.echo(f"kon: {text}", err=True)


def is_stdout_closed() -> bool:
    """Whether kon was started without standard output, or with one that can only be read."""
    return _is_opened(sys.stdout, os.O_RDONLY)


def is_stdin_closed() -> bool:
    """Whether kon was started without standard input, or with one that can only be written."""
    return _is_opened(sys.stdin, os.O_WRONLY)


def _is_opened(stream: IO[str], mode: int) -> bool:
    try:
        return fcntl.fcntl(stream.fileno(), fcntl.F_GETFL) & os.O_ACCMODE == mode
    except (OSError, ValueError):  # a test's or a notebook's
        return False


def forget_stdout() -> None:
    """Nobody reads it any more, or its disk is full: Python, which flushes it at its end, must not fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def can_redraw() -> bool:
    """Whether stderr is a terminal on which lines may be drawn over."""
    from kon.api import progress  # for whoever shows any

    return progress.can_redraw(sys.stderr) and not logs.is_json()


def table_width(wide: bool) -> int | None:
    """The columns that a table on stdout has to fit; None off a terminal, or where all are asked for."""
    return None if wide or not sys.stdout.isatty() else shutil.get_terminal_size().columns


def terminal_width() -> int | None:
    """The columns of the terminal that stderr is; None where it is none."""
    return shutil.get_terminal_size().columns if sys.stderr.isatty() else None


_log = logging.getLogger("kon.cli")


def print_json(value: dict[str, Any]) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode({"schema": JSON_SCHEMA, **value}), indent=2))


def print_rows(experiment: str, rows: Iterable[dict[str, Any]]) -> None:
    """The object of the contract: an experiment's runs, a row each."""
    runs = [{key: value for key, value in row.items() if key != "schema"} for row in rows]
    print_json({"experiment": experiment, "runs": runs})


def is_given(ctx: click.Context, name: str) -> bool:
    """Whether this parameter is on the command line."""
    return ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE


def two_things(one: str, other: str, ctx: click.Context | None = None) -> click.UsageError:
    """The refusal of two options, as one would be passed over."""
    return click.UsageError(f"{one} and {other} ask for two things; give one of them", ctx)


def refuse_unused(ctx: click.Context, with_: str, *names: str) -> None:
    """Raises UsageError for a parameter of `names` on the command line: `with_`, which is there too, has no
    use for it."""
    for param in ctx.command.params:
        if param.name in names and is_given(ctx, param.name):
            raise two_things(with_, max(param.opts, key=len), ctx)


def as_asked(style: str, as_json: bool) -> str:
    """The format that --format and --json ask for together."""
    return "json" if as_json else style


def print_result(rows: Sequence[dict[str, Any]], style: str, experiment: str, wide: bool = False) -> None:
    """The rows of one experiment file, in one of `FORMATS`."""
    print_groups({experiment: rows}, style, experiment, width=table_width(wide))


def print_groups(
    groups: Mapping[str, Sequence[dict[str, Any]]],
    style: str,
    experiment: str,
    view: str = "auto",
    reference: Path | None = None,
    width: int | None = None,
) -> None:
    """The rows of several folders, in one of `FORMATS`.

    reference: a file of other systems' figures. width: the columns that tables have to fit; None: any.
    """
    from kon.report.formats import as_csv, drawn  # tabulate, and what it imports, for no other command

    rows = [row for group in groups.values() for row in group]
    if style == "json":
        print_rows(experiment, rows)
    elif style == "csv":
        click.echo(as_csv(rows), nl=False)
    else:
        from kon.report.views import references

        others = references(reference) if reference else ()
        click.echo(drawn(groups, style, view, others, width))


force_option = click.option("--force", is_flag=True, help="Overwrite existing files.")


def refuse(files: Iterable[Path]) -> None:
    """Raises ConfigurationError where one of them is there already."""
    there = [file for file in files if file.exists()]
    if there:
        raise ConfigurationError(
            f"{there[0]} is there already and was left as it is; --force writes over it"
            + (f" and {len(there) - 1} more" if len(there) > 1 else "")
        )


def write(file: Path, body: bytes, force: bool) -> None:
    """Whole or not at all. Raises ConfigurationError where it is there already, or can't be written."""
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_bytes(body)
        if not force:
            file.open("xb").close()  # refuses, in one step, what is there
        fresh.replace(file)
    except FileExistsError:
        refuse([file])
        raise
    except OSError as error:
        raise ConfigurationError(f"{file}: can't be written: {error.strerror}") from error
    finally:
        fresh.unlink(missing_ok=True)
