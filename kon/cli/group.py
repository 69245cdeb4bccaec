"""The group of all commands: how each is loaded, what all of them refuse, and how errors are told."""

from __future__ import annotations

import importlib
import logging
import platform
import sys
from collections.abc import Callable
from functools import partial
from typing import IO, Any, Final

import click
from click.shell_completion import CompletionItem

from kon.cli.commands import COMMANDS, SECTIONS
from kon.cli.defaults import apply, defaults
from kon.cli.inherited import log_options
from kon.core.distribution import extras, version
from kon.core.errors import Interrupted, KonError, did_you_mean, first_cause
from kon.engine.watchers import logs

EXIT_PIPE: Final = 141
"""The exit code when what reads stdout has gone away, as a shell reports it for other programs."""


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
        except BrokenPipeError:  # of which it would make the same: as the help is printed, or the version
            raise _pipe_is_gone() from None

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
            raise _pipe_is_gone() from None
        except (KonError, BaseExceptionGroup) as error:
            cause = first_cause(error)
            if isinstance(cause, KonError):
                raise CommandFailure(cause) from error
            raise


def _pipe_is_gone() -> click.exceptions.Exit:
    """What ends a command whose output nobody reads any more."""
    from kon.cli.output import forget_stdout

    forget_stdout()
    return click.exceptions.Exit(EXIT_PIPE)


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
