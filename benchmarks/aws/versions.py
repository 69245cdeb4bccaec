"""Which versions of the peers are installed, in their own virtualenv."""

from __future__ import annotations

from importlib.metadata import distributions, version
from pathlib import Path
from typing import Final

import click

from benchmarks.aws.measure import PEERS

NAMED: Final = (
    "celery",
    "kombu",
    "taskiq",
    "taskiq-aio-sqs",
    "aiobotocore",
    "dramatiq",
    "dramatiq-sqs",
    "boto3",
)


def peers_installed(python: Path = PEERS) -> dict[str, str]:
    """By name, the emulator's with them. Raises ClickException where they are not installed."""
    folders = [str(folder) for folder in python.parents[1].glob("lib/python3*/site-packages")]
    found = {each.name: each.version for each in distributions(path=folders)}
    missing = [name for name in NAMED if name not in found]
    if missing:
        raise click.ClickException(
            f"the peers are not installed ({', '.join(missing)}): `make bench-aws` installs them"
        )
    return {name: found[name] for name in NAMED} | {
        "MiniStack": version("ministack"),
        "kon's botocore": version("botocore"),
    }
