"""`kon host`"""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import click

from kon.cli.experiment import Asked, file_argument, limit_option, out_option, set_option
from kon.cli.inherited import metrics_option
from kon.cli.output import note
from kon.core.errors import Interrupted
from kon.launch.campaign import Campaign
from kon.launch.local_host import Host


@click.command()
@file_argument
@out_option
@set_option
@limit_option
@click.option("--rerun-failed", is_flag=True, help="As given to the client.")
@metrics_option
@click.option("--number", type=click.IntRange(min=1), required=True, help="Which worker to be, from 1.")
@click.option(
    "--patience",
    "patience_s",
    type=click.FloatRange(min=0),
    default=120.0,
    show_default=True,
    metavar="S",
    help="How long to wait for a client to begin, in seconds.",
)
def host(rerun_failed: bool, number: int, patience_s: float, **asked: Any) -> None:
    """Be worker NUMBER of each run in FILE, for the client `kon run --join`.

    Both are given the same FILE, --out, --set and --limit. The host waits for the client to begin each run
    that has so many workers, keeps its worker processes running until the run is over, and ends after the
    last one, or when the client has gone. SIGTERM and Ctrl-C let running tasks end, and give back the rest.

    \b
    Example, in two terminals:
      kon run exp.yml --join
      kon host exp.yml --number 1
    """
    want = Asked(**asked)
    experiments = want.load()
    campaign = Campaign(experiments, want.root(experiments), rerun_failed=rerun_failed)
    campaign.check()
    worker = Host(
        campaign,
        number,
        rerun_failed=rerun_failed,
        patience_s=patience_s,
        on_note=lambda text: note(f"host {number}: {text}"),
    )
    asyncio.run(_until_stopped(worker))


async def _until_stopped(worker: Host) -> None:
    interrupted = False

    def interrupt() -> None:
        nonlocal interrupted
        interrupted = True
        worker.stop()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, worker.stop)
    loop.add_signal_handler(signal.SIGINT, interrupt)
    await worker.run()
    if interrupted:
        raise Interrupted("interrupted; the workers have ended")
