"""`kon completion` and `kon man`: help for shells and for man, made from the commands."""

from __future__ import annotations

from collections.abc import Iterator

import click
from click.shell_completion import get_completion_class

from kon.core.distribution import version

_WIDTH = 78
"""Columns of the help in a manual page, which man indents in a terminal of 80."""


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what makes a shell complete kon's commands and options.

    \b
    Examples:
      eval "$(kon completion bash)"      in ~/.bashrc
      eval "$(kon completion zsh)"       in ~/.zshrc
      kon completion fish > ~/.config/fish/completions/kon.fish
    """
    found = get_completion_class(shell)
    assert found is not None  # click has these three
    click.echo(found(ctx.find_root().command, {}, "kon", "_KON_COMPLETE").source())


@click.command()
@click.pass_context
def man(ctx: click.Context) -> None:
    """Print a manual page of all commands, in the format of man.

    \b
    Example:
      kon man > ~/.local/share/man/man1/kon.1
    """
    click.echo("\n".join(_page(ctx.find_root().command)))


def _page(root: click.Command) -> Iterator[str]:
    yield f'.TH KON 1 "" "kon {version()}" "kon"'
    yield ".SH NAME"
    yield f"kon \\- {_escaped((root.help or '').partition(chr(10))[0])}"
    yield ".SH SYNOPSIS"
    yield ".B kon"
    yield "COMMAND [OPTIONS] [ARGUMENTS]"
    yield ".SH DESCRIPTION"
    # with the settings of kon: click keeps the help option that is made now for later uses of a command
    settings = {**root.context_settings, "max_content_width": _WIDTH, "terminal_width": _WIDTH}
    top = click.Context(root, info_name="kon", **settings)
    yield from _verbatim(root.get_help(top))
    yield ".SH COMMANDS"
    yield from _commands(root, top)


def _commands(group: click.Command, above: click.Context) -> Iterator[str]:
    """The help of every command, and of the commands inside it."""
    if not isinstance(group, click.Group):
        return
    for name in group.list_commands(above):
        command = group.get_command(above, name)
        assert command is not None
        inside = click.Context(
            command, info_name=name, parent=above, max_content_width=_WIDTH, terminal_width=_WIDTH
        )
        yield f".SS {_escaped(inside.command_path)}"
        yield from _verbatim(command.get_help(inside))
        yield from _commands(command, inside)


def _verbatim(text: str) -> Iterator[str]:
    yield ".nf"
    yield from (_escaped(line) for line in text.splitlines())
    yield ".fi"


def _escaped(line: str) -> str:
    """The line as roff prints it unchanged: no escapes, no requests, and dashes that can be copied."""
    line = line.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{line}" if line.startswith((".", "'")) else line
