"""`kon validate` and `kon schema`"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from kon.cli.experiment import set_option
from kon.cli.output import json_option, note, print_json
from kon.core.errors import ConfigurationError, counted
from kon.experiment import load
from kon.experiment.schema import schema_text


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@set_option
@json_option
@click.pass_context
def validate(ctx: click.Context, files: tuple[Path, ...], overrides: tuple[str, ...], as_json: bool) -> None:
    """Check experiment files, with every task of their workloads. Nothing is run or written.

    \b
    Example:
      kon validate workloads/*.yml
    """
    checked = [_check(file, overrides) for file in files]
    if as_json:
        print_json({"files": checked})
    else:
        for each in checked:
            if each["ok"]:
                click.echo(
                    f"{each['file']}: {counted(each['runs'], 'run')}, {counted(each['tasks'], 'task')}"
                )
            for problem in each["problems"]:
                note(problem)
    ctx.exit(0 if all(each["ok"] for each in checked) else ConfigurationError.exit_code)


def _check(file: Path, overrides: tuple[str, ...]) -> dict[str, Any]:
    try:
        cells = [cell for experiment in load(file, overrides) for cell in experiment.cells()]
    except ConfigurationError as error:
        return {"file": str(file), "ok": False, "problems": str(error).splitlines()}
    tasks = sum(cell.spec.tasks for cell in cells)
    return {"file": str(file), "ok": True, "runs": len(cells), "tasks": tasks, "problems": []}


@click.command()
def schema() -> None:
    """Print the JSON Schema of experiment files, with the plug-ins that are installed here.

    \b
    Example, for editors that read the line `# yaml-language-server: $schema=experiment.schema.json`:
      kon schema > experiment.schema.json
    """
    click.echo(schema_text(), nl=False)
