"""`kon doctor`"""

from __future__ import annotations

from pathlib import Path

import click

from kon.cli.checkup import Level, examine
from kon.cli.output import json_option, print_json, table_width
from kon.cli.runs import RESULTS
from kon.core.errors import ConfigurationError
from kon.report.fit import folded


@click.command()
@click.option(
    "--root",
    type=click.Path(path_type=Path),
    default=RESULTS,
    show_default=True,
    help="The folder where runs are to be recorded.",
)
@json_option
@click.pass_context
def doctor(ctx: click.Context, /, root: Path, as_json: bool) -> None:
    """Check what kon needs on this machine, and say how to mend what is missing.

    The exit code is 2 if something has to be mended, else 0.

    \b
    Example:
      kon doctor --root /data/results
    """
    findings = examine(root)
    failed = any(finding.level is Level.FAIL for finding in findings)
    if as_json:
        checks = [
            {"check": each.check, "level": each.level.value, "found": each.found, "mend": each.mend}
            for each in findings
        ]
        print_json({"ok": not failed, "checks": checks})
    else:
        wide = max(len(each.check) for each in findings)
        for each in findings:
            lines = [f"{each.level.value:4}  {each.check:{wide}}  {each.found}"]
            if each.mend:
                lines.append(f"{'':{wide + 8}}{each.mend}")
            click.echo(folded("\n".join(lines), table_width(False)))
    ctx.exit(ConfigurationError.exit_code if failed else 0)
