"""`kon init`"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Final

import click

import kon.experiment
from kon.core.errors import ConfigurationError
from kon.experiment.schema import schema_text

STARTER: Final = Path(kon.experiment.__file__).parent / "starter"
"""Files that are copied as they are."""

SCHEMA: Final = "experiment.schema.json"


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), default=Path())
def init(folder: Path) -> None:
    """Write a first experiment to start from, with comments, and the quickstart.

    It writes experiment.yml, quickstart.yml and experiment.schema.json, by which editors complete and check
    the other two. It overwrites nothing.

    \b
    Example:
      kon init my-project
    """
    texts = {file.name: file.read_text(encoding="utf-8") for file in sorted(STARTER.glob("*.yml"))}
    texts[SCHEMA] = schema_text()
    there = [name for name in texts if (folder / name).exists()]
    if there:
        raise ConfigurationError(
            f"{', '.join(str(folder / name) for name in there)}: there already, so that nothing was written. "
            "Name another folder: kon init FOLDER"
        )
    if folder.exists() and not folder.is_dir():
        raise ConfigurationError(f"{folder}: is a file. Name a folder: kon init FOLDER")
    begun: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            with (folder / name).open("x", encoding="utf-8") as file:
                begun.append(folder / name)
                file.write(text)
    except OSError as error:
        for each in begun:  # or they would stand in the way of the next try
            each.unlink(missing_ok=True)
        raise ConfigurationError(
            f"{folder}: can't be written: {error.strerror}; no file of it is left"
        ) from error
    for name in texts:
        click.echo(f"wrote {folder / name}")
    step = "" if folder == Path() else f"cd {shlex.quote(str(folder))} && "
    click.echo(f"\nNext: {step}kon run experiment.yml\n      {step}kon run quickstart.yml")
