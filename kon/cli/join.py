"""`kon join`"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import click
import msgspec

from kon.backends.aws import AwsBackend
from kon.cli.inherited import metrics_option
from kon.cli.output import note
from kon.core.errors import ConfigurationError, Interrupted
from kon.core.spec import Plugin
from kon.fleet.thing import Filter
from kon.launch.campaign import check_reach
from kon.launch.remote_host import ApartHost, Awaited, Finder


class _Line(msgspec.Struct):
    run: str
    backend: str
    backend_options: dict[str, object] = {}


class _Plan(msgspec.Struct):
    """number, elastic: what a fleet's controller adds. fleet: whose runs are looked for, all the time, in the
    region of the credentials; there need be no `runs` then."""

    runs: list[_Line] = []
    number: int | None = None
    elastic: bool = False
    fleet: str | None = None


@click.command()
@click.argument("plan", type=click.Path(path_type=Path))
@click.option(
    "--number", type=click.IntRange(min=1), help="Which worker to be, from 1.  [default: PLAN's own `number`]"
)
@click.option("--elastic", is_flag=True, help="Also of runs that have fewer workers than NUMBER.")
@metrics_option
@click.option(
    "--out",
    "root",
    type=click.Path(path_type=Path),
    required=True,
    help="The folder for this machine's part of the records, made if need be.",
)
def join(plan: Path, number: int | None, elastic: bool, root: Path) -> None:
    """Be worker NUMBER of each run in PLAN, for a client on another machine.

    PLAN is what `kon run --dry-run --json` has printed there. The client is `kon run --join --apart`; it may
    begin before or after this. Needed here: kon, the backend's credentials, and what the tasks themselves
    need. The experiment's file is not. SIGTERM and Ctrl-C let running tasks end, and give back the rest.

    Hosts that `kon autoscale` has made have a PLAN that names their fleet: they look for its runs themselves,
    and work until they are told to stop.

    \b
    Example:
      kon run exp.yml --set backend=aws --dry-run --json > plan.json
      kon join plan.json --number 1 --out /var/lib/kon/exp
    """
    read = _read(plan)
    runs = [Awaited(each.run, Plugin(each.backend, each.backend_options)) for each in read.runs]
    for each in runs:
        check_reach(each.backend.name)
    number = number or read.number
    if number is None:
        raise ConfigurationError(f"which worker to be, neither {plan} nor --number says")
    if not runs and read.fleet is None:
        raise ConfigurationError(f"{plan}: names no run to work on")
    asyncio.run(_until_stopped(runs, root, number, elastic or read.elastic, read.fleet))


def _read(plan: Path) -> _Plan:
    try:
        return msgspec.json.decode(plan.read_bytes(), type=_Plan)
    except OSError as error:
        raise ConfigurationError(f"{plan}: can't be read: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise ConfigurationError(f"{plan}: is not what `kon run --dry-run --json` prints: {error}") from error


async def _until_stopped(
    runs: list[Awaited], root: Path, number: int, elastic: bool, fleet: str | None
) -> None:
    async with _finder(fleet) as find:
        host = ApartHost(
            runs,
            root,
            number,
            elastic=elastic,
            find=find,
            on_note=lambda text: note(f"host {number}: {text}"),
        )
        interrupted = False

        def interrupt() -> None:
            nonlocal interrupted
            interrupted = True
            host.stop()

        loop = asyncio.get_running_loop()
        for signal_number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(signal_number, host.stop)
        loop.add_signal_handler(signal.SIGINT, interrupt)
        await host.run()
    if interrupted:
        raise Interrupted("interrupted; the workers have ended")


@asynccontextmanager
async def _finder(fleet: str | None) -> AsyncIterator[Finder | None]:
    """What finds a fleet's runs by their queues; None without a fleet."""
    if fleet is None:
        yield None
        return
    backend = AwsBackend({"prefix": Filter(fleet).stem})

    async def find() -> list[Awaited]:
        return [Awaited(each.run, Plugin("aws", each.options)) for each in await backend.found()]

    try:
        yield find
    finally:
        await backend.close()
