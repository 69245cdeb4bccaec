"""Files that a command writes for a person: never over another without being told to."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import click

from kon.core.errors import ConfigurationError

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
