"""`kon schema`"""

from __future__ import annotations

import click

from kon.experiment.schema import schema_text


@click.command()
def schema() -> None:
    """Print the JSON Schema of experiment files, with the plug-ins that are installed here.

    \b
    Example, for editors that read the line `# yaml-language-server: $schema=experiment.schema.json`:
      kon schema > experiment.schema.json
    """
    click.echo(schema_text(), nl=False)
