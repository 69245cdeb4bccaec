"""The site's page of commands, made from their help. The repository has no copy of it."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator
from typing import Final

import click

from kon.cli.commands import SECTIONS
from kon.cli.group import kon

HEAD: Final = """\
# Commands

What `kon --help` and `kon COMMAND --help` say, on one page. Exit codes are in
[troubleshooting.md](troubleshooting.md).

Many commands have these options:

"""

OF_MANY: Final = ("as_json", "quiet", "root", "log_format", "log_level")
"""The options that are described once, by their parameters."""


def page() -> str:
    context = click.Context(kon)
    commands = {name: kon.get_command(context, name) for section in SECTIONS.values() for name in section}
    shared: dict[str, click.Parameter] = {}
    for command in commands.values():
        for param in command.params if command is not None else ():
            if param.name in OF_MANY:
                shared.setdefault(param.name, param)
    parts = [HEAD + _table([shared[name] for name in OF_MANY])]
    for section, names in SECTIONS.items():
        parts.append(f"## {section}\n")
        for name in names:
            command = commands[name]
            assert command is not None
            parts.extend(_told(command, f"kon {name}"))
    return "\n".join(parts)


def _told(command: click.Command, name: str) -> Iterator[str]:
    if isinstance(command, click.Group):
        for each in command.list_commands(click.Context(command)):
            below = command.get_command(click.Context(command), each)
            assert below is not None
            yield from _told(below, f"{name} {each}")
        return
    # click keeps the option for help that it makes now for all later uses of the command
    context = click.Context(command, info_name=name, **kon.context_settings)
    yield f"### {name}\n"
    yield f"`{' '.join([name, *command.collect_usage_pieces(context)])}`\n"
    yield _prose(command.help or "")
    own = [param for param in command.params if param.name not in OF_MANY]
    if table := _table(own):
        yield table


def _prose(text: str) -> str:
    """The paragraphs of a help text; in a fence those that are to be kept as they are, such as examples."""
    told = []
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        if paragraph.startswith("\b"):  # click's own sign
            told.append(f"```text\n{textwrap.dedent(paragraph.removeprefix(chr(8)).strip(chr(10)))}\n```\n")
        else:
            told.append(_plain(" ".join(paragraph.split())) + "\n")
    return "\n".join(told)


def _table(params: list[click.Parameter]) -> str:
    rows = []
    for param in params:
        record = param.get_help_record(click.Context(kon))
        if record is not None and record[1]:
            option, meaning = (part.replace("|", ", ") for part in record)
            rows.append(f"| `{option}` | {_plain(meaning)} |")
    return "\n".join(["| option | meaning |", "|---|---|", *rows, ""]) if rows else ""


def _plain(text: str) -> str:
    """Nothing of it is taken for HTML, emphasis or a link."""
    parts = text.split("`")
    for place in range(0, len(parts), 2):
        for sign in "*_<":
            parts[place] = parts[place].replace(sign, f"\\{sign}" if sign != "<" else "&lt;")
    return "`".join(parts)
