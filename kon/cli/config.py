"""`kon config`"""

from __future__ import annotations

import click

from kon.cli.commands import COMMANDS
from kon.cli.defaults import apply, defaults
from kon.cli.group import LazyGroup
from kon.cli.output import json_option, note, print_json, table_width, wide_option
from kon.report.tables import draw


@click.command()
@json_option
@wide_option
@click.pass_context
def config(ctx: click.Context, as_json: bool, wide: bool) -> None:
    """Show the defaults that are in force for options of commands, and where each is from.

    \b
    From the strongest to the weakest:
      the command line           kon run exp.yml --out /data
      the environment            KON_RUN_OUT=/data
      the project                kon.toml, or [tool.kon.run] in pyproject.toml, in the current folder
      the person                 ~/.config/kon/kon.toml

    \b
    Example of a kon.toml:
      [run]
      out = "/data/results"
      quiet = true

    \b
    Example:
      kon config --json
    """
    found = defaults(COMMANDS)
    group = ctx.find_root().command
    assert isinstance(group, LazyGroup)
    for name in {default.command for default in found}:
        command = group.get_command(ctx, name)
        assert command is not None  # or `defaults` would have refused it
        apply(command, name, found)
    in_force = {(each.command, each.option.replace("-", "_")): each for each in found}
    rows = sorted(in_force.values())
    if as_json:
        print_json({"defaults": [each._asdict() for each in rows]})
    elif rows:
        body = [
            [each.command, f"--{each.option.replace('_', '-')}", f"{each.value}", each.source]
            for each in rows
        ]
        headers = ["command", "option", "default", "from"]
        click.echo(draw(body, headers, ["left"] * 4, width=table_width(wide)))
    else:
        note("no defaults are set in the environment, kon.toml or pyproject.toml")
