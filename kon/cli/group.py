"""The group of all commands: what they are called, how each is loaded, and what becomes of errors."""

from __future__ import annotations

import contextlib
import errno
import importlib
import io
import logging
import os
import platform
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import IO, Any, Final, NamedTuple

import click
from click.shell_completion import CompletionItem

from kon.cli.defaults import apply, defaults
from kon.cli.inherited import log_options
from kon.core.distribution import extras, version
from kon.core.errors import Interrupted, KonError, StoreError, did_you_mean, first_cause
from kon.engine.watchers import logs

EXIT_FAULT: Final = 70
"""The exit code after a fault of kon's own (EX_SOFTWARE), so that no script takes it for a failed task."""

EXIT_STDOUT: Final = StoreError.exit_code
"""The exit code when standard output is on a full disk, or takes no more for another reason."""

EXIT_PIPE: Final = 141
"""The exit code when what reads stdout has gone away, as a shell reports it for other programs."""


class Lazy(NamedTuple):
    """Where a command is found, and its line in the list: `kon --help` imports none of them."""

    target: str
    help: str


SECTIONS: Final[dict[str, dict[str, Lazy]]] = {
    "Run": {
        "run": Lazy("kon.cli.run:run", "Run an experiment, or take it up where it stood."),
        "map": Lazy("kon.cli.map:map_", "Run a command for each of many arguments."),
        "init": Lazy("kon.cli.init:init", "Write a first experiment to start from."),
        "validate": Lazy("kon.cli.validate:validate", "Check experiment files without running them."),
        "generate": Lazy("kon.cli.generate:generate", "Write a workload file."),
        "plan": Lazy("kon.cli.plan:plan", "Forecast time and cost of an experiment on a fleet."),
        "calibrate": Lazy("kon.cli.calibrate:calibrate", "Make a model from runs that were measured."),
    },
    "Look": {
        "status": Lazy("kon.cli.status:status", "Show how far runs are."),
        "top": Lazy("kon.cli.top:top", "Follow a run on the terminal as it goes on."),
        "serve": Lazy("kon.cli.serve:serve", "Show runs on a page in the browser."),
        "table": Lazy("kon.cli.table:table", "Draw the result tables of recorded runs again."),
        "results": Lazy("kon.cli.results:results", "Print what became of each task of a run."),
        "runs": Lazy("kon.cli.removal:runs", "List recorded runs, with their sizes and ages."),
        "report": Lazy("kon.cli.report:report", "Write a page of HTML about runs."),
        "plot": Lazy("kon.cli.report:plot", "Draw plots of runs into files."),
        "compare": Lazy("kon.cli.compare:compare", "Say what differs between runs, and whether it matters."),
        "trace": Lazy("kon.cli.trace:trace", "Send tasks to OpenTelemetry, each as a trace."),
        "dead": Lazy("kon.cli.dead:dead", "Dead tasks and unreadable messages: list, show, requeue, drop."),
        "explain": Lazy("kon.cli.explain:explain", "Tell the story of a task, or list what came twice."),
    },
    "Run step by step": {
        "submit": Lazy("kon.cli.submit:submit", "Queue the tasks of an experiment, and return."),
        "worker": Lazy("kon.cli.worker:worker", "Work on a run, in the foreground."),
        "collect": Lazy("kon.cli.collect:collect", "Collect the results of a run that was begun earlier."),
        "cancel": Lazy("kon.cli.cancel:cancel", "Give up what a run has not done yet."),
        "gather": Lazy("kon.cli.gather:gather", "Put hosts' parts of the records together."),
        "join": Lazy("kon.cli.join:join", "Work on runs of a client here or on another machine."),
    },
    "Tidy up": {
        "rm": Lazy("kon.cli.removal:rm", "Remove finished runs."),
        "clean": Lazy("kon.cli.removal:clean", "Remove finished runs that are old."),
    },
    "Amazon": {
        "up": Lazy("kon.cli.provision:up", "Make a run's queues, table and bucket ahead."),
        "down": Lazy("kon.cli.provision:down", "Delete a run's queues, table and objects."),
        "restore": Lazy("kon.cli.restore:restore", "Get results back from cold storage."),
        "cost": Lazy("kon.cli.cost:cost", "Say what a run's requests cost."),
        "sweep": Lazy("kon.cli.sweep:sweep", "Find what is left in any region, and remove it."),
        "autoscale": Lazy("kon.cli.autoscale:autoscale", "Keep as many hosts as the queues ask for."),
        "equip": Lazy("kon.cli.autoscale:equip", "Provide for hosts that come later."),
        "emulator": Lazy(
            "kon.cli.emulator:emulator", "Run SQS, DynamoDB and S3 on this machine, for trials."
        ),
    },
    "Check kon itself": {
        "prove": Lazy("kon.cli.prove:prove", "Search for faults that break what strategies promise."),
    },
    "Help": {
        "schema": Lazy("kon.cli.validate:schema", "Print the JSON Schema of experiment files, for editors."),
        "config": Lazy("kon.cli.config:config", "Show defaults of your own, and where they are from."),
        "completion": Lazy("kon.cli.manual:completion", "Print what makes a shell complete commands."),
        "man": Lazy("kon.cli.manual:man", "Print a manual page, for man."),
        "doctor": Lazy("kon.cli.doctor:doctor", "Check this machine, and say how to mend what is wrong."),
    },
}

COMMANDS: Final = {name: lazy for section in SECTIONS.values() for name, lazy in section.items()}


_log = logging.getLogger("kon.cli")


class CommandFailure(click.ClickException):
    """An error of the user's, or of the world's: its message, no traceback, its own exit code."""

    def __init__(self, error: KonError) -> None:
        super().__init__(str(error))
        vars(self)["exit_code"] = error.exit_code  # what click declares as one of the class

    def show(self, file: IO[Any] | None = None) -> None:
        lines = self.message.splitlines()
        if len(lines) > 1:
            lines.insert(0, f"{len(lines)} problems")  # each on a line that editors can jump to
        click.echo("\n".join([f"kon: {lines[0]}", *lines[1:]]), err=True, file=file)


_GONE: Final = {
    "host": " any more; `kon run FILE --dry-run --json | kon join - --number N --out DIR` does what it did",
    "help": "; `kon --help` lists them, and `kon COMMAND --help` has the options of one",
    "version": "; it is `kon --version`",
    "list": "; it is `kon runs`, or `kon status`",
    "ls": "; it is `kon runs`, or `kon status`",
}
"""Commands of the release before, or of other programs, and what to type here."""


class LazyGroup(click.Group):
    """Loads a command when it is asked for, and turns errors into messages and exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        lazy = COMMANDS.get(cmd_name)
        if lazy is None:
            return None
        module, _, name = lazy.target.partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        if not any(param.name == "log_format" for param in command.params):
            command.params.extend(log_options())
            _refuse_empty_values(command)
            _refuse_two_formats(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            hint = _GONE.get(args[0]) or did_you_mean(args[0], COMMANDS)
            ctx.fail(f'no command "{args[0]}"{hint}')
        name, command, rest = super().resolve_command(ctx, args)
        completing = ctx.resilient_parsing  # a shell's Tab is no place for errors
        if name is not None and command is not None and not completing and (found := defaults(COMMANDS)):
            ctx.default_map = {name: apply(command, name, found)}
        return name, command, rest

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for section, commands in SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl([(name, lazy.help) for name, lazy in commands.items()], col_max=12)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        items = [
            CompletionItem(name, help=lazy.help)
            for name, lazy in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return items + click.Command.shell_complete(self, ctx, incomplete)

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        try:
            return super().make_context(*args, **extra)
        except KeyboardInterrupt as error:  # of which click would make exit code 1
            raise CommandFailure(Interrupted("interrupted")) from error

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return self._invoke(ctx)
        except click.ClickException as error:
            if not logs.is_json():
                raise
            _log.error(error.format_message(), extra={"exit_code": error.exit_code})
            raise click.exceptions.Exit(error.exit_code) from error

    def _invoke(self, ctx: click.Context) -> Any:
        try:
            logs.set_up()
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise CommandFailure(Interrupted("interrupted")) from error
        except BrokenPipeError:
            from kon.cli.output import forget_stdout

            forget_stdout()
            raise click.exceptions.Exit(EXIT_PIPE) from None
        except (KonError, BaseExceptionGroup) as error:
            cause = first_cause(error)
            if isinstance(cause, KonError):
                raise CommandFailure(cause) from error
            raise


def _refuse_empty_values(command: click.Command) -> None:
    """Have the options and arguments of a command refuse an empty value, as `--out "$OUT"` has where OUT is
    not set: an empty path would be the current folder. Items of `kon map` may be empty."""
    for part in command.commands.values() if isinstance(command, click.Group) else ():
        _refuse_empty_values(part)
    for param in command.params:
        if not isinstance(param.type, click.types.UnprocessedParamType):
            vars(param)["type_cast_value"] = partial(_cast, param.type_cast_value, param)


def _cast(
    cast: Callable[[click.Context, Any], Any], param: click.Parameter, ctx: click.Context, value: Any
) -> Any:
    """What click's own method does, for a value that is not empty. Raises BadParameter."""
    if value == "" or (isinstance(value, list | tuple) and "" in value):
        raise click.BadParameter(
            "the value is empty; nothing was done. Is a variable not set? Give a value, or leave it out",
            ctx,
            param,
        )
    return cast(ctx, value)


def _refuse_two_formats(command: click.Command) -> None:
    """Have a command with --json and --format refuse them together, unless they ask for the same."""
    invoke = command.invoke

    def checked(ctx: click.Context) -> Any:
        style = ctx.params.get("style", "json")
        if ctx.params.get("as_json") and not style.startswith("json"):
            from kon.cli.output import is_given, two_things  # for whoever needs it

            if is_given(ctx, "style"):
                raise two_things("--json", f"--format {style}", ctx)
        return invoke(ctx)

    vars(command)["invoke"] = checked


def _take_closed_files() -> None:
    """Have nothing that is opened later become one of the standard files that kon was started without: a
    database would take what programs say. Without stderr, kon says what it says to nobody. What it would
    print to a stdout that is closed fails, as on a full disk: whoever wants none of it sends it to /dev/null.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            mode = os.O_RDONLY if number == 1 else os.O_RDWR
            os.set_inheritable(os.open(os.devnull, mode), True)  # it gets the lowest number that is free
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 - as long as the process lasts
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115 - as long as the process lasts


def _say_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: IO[str] | None = None,
    line: str | None = None,
) -> None:
    """In place of Python's own way, which shows a line of the source as well."""
    from kon.cli.output import warn  # and msgspec, which a list of commands does without

    warn(str(message))


_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF})


class _Talk(io.TextIOWrapper):
    """Standard error, without errors where its disk is full or its terminal gone."""

    def write(self, text: str) -> int:
        with _lost():
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with _lost():
            super().flush()


@contextlib.contextmanager
def _lost() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise


def _outlive_stderr() -> None:
    """Have work go on where what kon says of it can't be written: a run of a night would end as its log does.
    What commands write to stderr is another matter, and goes past this."""
    said = sys.__stderr__
    if said is not None and sys.stderr is said:  # which stays, and keeps the file open
        sys.stderr = _Talk(said.buffer, said.encoding, said.errors, line_buffering=True, write_through=True)


def _is_of_stdout(error: BaseException) -> bool:
    """Whether it comes of writing to standard output: what kon writes elsewhere has errors of its own."""
    return isinstance(error, OSError) and error.filename is None and error.errno in _FULL


def _say_version(ctx: click.Context) -> None:
    has = [name for name, packages in extras().items() if None not in packages.values()]
    click.echo(f"kon {version()}")
    click.echo(f"Python {platform.python_version()}, {sys.executable}")
    click.echo(f"extras: {', '.join(has) or 'none'}; `kon doctor` says what the others lack")
    ctx.exit()


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Exit codes: 0 all done; 1 some tasks failed, or are dead or lost; 2 usage or
configuration; 3 the backend does not answer or refuses; 4 over the deadline
or the budget; 5 something is left at Amazon; 130 interrupted.
Tab completion: eval "$(kon completion bash)" in ~/.bashrc; zsh and fish too.
""",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=lambda ctx, param, value: _say_version(ctx) if value else None,
    help="Show the version, and what is installed with it.",
)
def kon() -> None:
    """Run many independent tasks, each counted exactly once in the results.

    \b
    Begin with:
      kon init && kon run experiment.yml
      kon map 'gzip -k {}' *.log
    """


def main() -> None:
    """What the installed script does. Ends the process."""
    try:
        _take_closed_files()
        _outlive_stderr()
        warnings.showwarning = _say_warning
        _call()
    except (KeyboardInterrupt, click.Abort):  # before or after a command, which has its own way
        CommandFailure(Interrupted("interrupted")).show()
        sys.exit(Interrupted.exit_code)
    finally:
        _forget_full_stderr()


def _call_click() -> None:
    """Ends the process, as click does by itself; but that makes exit code 1 of Ctrl-C."""
    try:
        sys.exit(kon(prog_name="kon", standalone_mode=False))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)


def _call() -> None:
    try:
        _call_click()
    except click.Abort:
        raise
    except Exception as error:
        if _is_of_stdout(first_cause(error)):
            from kon.cli.output import forget_stdout

            forget_stdout()
            told = f"standard output: can't be written: {getattr(error, 'strerror', error)}"
            if logs.is_json():
                _log.error(told, extra={"exit_code": EXIT_STDOUT})
            else:
                click.echo(f"kon: {told}", err=True)
            sys.exit(EXIT_STDOUT)
        if (short := _short_of(first_cause(error))) is not None:
            if logs.is_json():
                _log.error(short, extra={"exit_code": StoreError.exit_code})
            else:
                click.echo(f"kon: {short}", err=True)
            sys.exit(StoreError.exit_code)
        from kon.cli.fault import told as kept

        if logs.is_json():
            _log.critical(kept(error), exc_info=True, extra={"exit_code": EXIT_FAULT})
        else:
            traceback.print_exc()
            click.echo(f"kon: {kept(error)}", err=True)
        sys.exit(EXIT_FAULT)


def _short_of(error: BaseException) -> str | None:
    """What to say where this process may have no more threads or memory; None for another error."""
    if isinstance(error, MemoryError):
        what, limits = "is out of memory", "ulimit -v, or a container's limit"
    elif isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        what, limits = "can start no more threads", "ulimit -u, ulimit -v, or a container's limit"
    else:
        return None
    return f"kon {what}. What is recorded stays: raise the limit ({limits}), then run the same command again"


def _forget_full_stderr() -> None:
    """Where stderr can't be written, its disk is full: Python, which flushes it at its end, must not fail."""
    try:
        sys.stderr.buffer.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
