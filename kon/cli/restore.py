"""`kon restore`"""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import click

from kon.backends.aws.cold import ColdState
from kon.cli.output import json_option, note, print_json
from kon.cli.runs import find_run, root_option, run_argument
from kon.core.errors import Interrupted
from kon.fleet.restore import restore as ask_back


@click.command()
@run_argument
@click.option(
    "--days", type=click.IntRange(1, 365), default=7, show_default=True, help="How many days they stay."
)
@click.option(
    "--tier",
    type=click.Choice(["Expedited", "Standard", "Bulk"]),
    default="Standard",
    show_default=True,
    help="How fast, and how expensive.",
)
@click.option("--no-wait", is_flag=True, help="Only ask for them.")
@root_option
@json_option
def restore(run: str, days: int, tier: Any, no_wait: bool, root: Path, as_json: bool) -> None:
    """Get what the tasks of RUN have stored back from cold storage, and wait until it is here.

    For runs of the backend aws whose results have gone to GLACIER or DEEP_ARCHIVE
    (results_cold_after_days). It takes minutes to days. If it is ended meanwhile, nothing is lost: the same
    command goes on waiting.

    \b
    Examples:
      kon restore exp-lease-w4-r1 --tier Bulk --days 14
      kon results exp-lease-w4-r1 --objects
    """
    folder = find_run(run, root)

    def tell(counts: Counter[ColdState]) -> None:
        if not as_json:
            note(_said(counts))

    try:
        counts = asyncio.run(ask_back(folder, days, tier, wait=not no_wait, on_counts=tell))
    except KeyboardInterrupt as error:
        raise Interrupted(
            "what was asked for comes all the same; the same command goes on waiting"
        ) from error
    if as_json:
        print_json({"run": folder.path.name, "objects": {state: counts[state] for state in sorted(counts)}})


def _said(counts: Counter[ColdState]) -> str:
    if not counts.total():
        return "there is no object: its tasks have stored nothing, or it was deleted"
    return ", ".join(f"{count:,} {state}" for state, count in sorted(counts.items()) if count)
