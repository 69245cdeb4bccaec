"""`kon join`"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import click
import msgspec

from kon.cli.inherited import metrics_option
from kon.cli.interrupts import ending_signals
from kon.cli.output import note
from kon.core.errors import ConfigurationError, Interrupted, counted
from kon.core.plugins import backend_class
from kon.core.spec import Plugin
from kon.launch.host import RECORDED, RUN_AGAIN, Awaited, Finder, Host


class _Line(msgspec.Struct):
    """One run, as `kon run --dry-run --json` lists it.

    hosts: how many it has work for; None where the plan does not say.
    """

    run: str
    backend: str
    backend_options: dict[str, object] = {}
    hosts: int | None = None
    would: str = ""


class _Plan(msgspec.Struct):
    """number, elastic: what a fleet's controller adds. fleet: whose runs are looked for, all the time, in the
    region of the credentials; there need be no `runs` then."""

    runs: list[_Line] = []
    number: int | None = None
    elastic: bool = False
    fleet: str | None = None


@click.command()
@click.argument("plan", metavar="RUNS")
@click.option(
    "--number", type=click.IntRange(min=1), help="Which worker to be, from 1.  [default: that in RUNS]"
)
@click.option("--elastic", is_flag=True, help="Also work on runs that have fewer workers than NUMBER.")
@click.option(
    "--patience",
    "patience_s",
    type=click.FloatRange(min=0),
    metavar="S",
    help="How long to wait for a client to begin, in seconds.  [default: 120 on a backend of this machine, "
    "for ever elsewhere]",
)
@metrics_option
@click.option(
    "--out",
    "root",
    type=click.Path(path_type=Path),
    required=True,
    help="On a backend of this machine the client's own --out; elsewhere the folder for this machine's part "
    "of the records, which is made if it is missing.",
)
def join(plan: str, number: int | None, elastic: bool, patience_s: float | None, root: Path) -> None:
    """Be worker NUMBER of each run in RUNS, for the client `kon run --join`, on this machine or another one.

    RUNS is a file with the output of `kon run --dry-run --json`, or - for stdin. The client may begin before
    or after this. This machine needs kon, the backend's credentials, and what the tasks need, but not the
    experiment's file. A host ends after the last run, or at once when a client on this machine has gone.
    SIGTERM and Ctrl-C let running tasks end, and give back the rest.

    Hosts that `kon autoscale` has made get a file that names their fleet: they look for its runs themselves,
    and work until they are told to stop.

    \b
    Examples:
      kon run exp.yml --dry-run --json | kon join - --number 1 --out results/exp
      kon run exp.yml --set backend=aws --dry-run --json > runs.json
      kon join runs.json --number 1 --out /var/lib/kon/exp
    """
    read = _read(plan)
    number = number or read.number
    if number is None:
        raise ConfigurationError(f"neither {plan} nor --number says which worker to be")
    if not read.runs and read.fleet is None:
        raise ConfigurationError(f"{plan}: names no run to work on")
    left = [each for each in read.runs if each.would != RECORDED and backend_class(each.backend).processes]
    most = max((number if each.hosts is None else each.hosts for each in left), default=0)
    is_elastic = elastic or read.elastic
    if read.fleet is None and (not left or (number > most and not is_elastic)):
        note(f"host {number}: nothing to do: no run has work for more than {counted(most, 'host')}")
        return
    runs = [
        Awaited(each.run, Plugin(each.backend, each.backend_options), again=each.would == RUN_AGAIN)
        for each in left
    ]
    asyncio.run(_until_stopped(runs, root, number, is_elastic, read.fleet, patience_s))


def _read(plan: str) -> _Plan:
    """The content of RUNS. Raises ConfigurationError where it can't be read, or is something else."""
    try:
        body = sys.stdin.buffer.read() if plan == "-" else Path(plan).read_bytes()
        return msgspec.json.decode(body, type=_Plan)
    except OSError as error:
        raise ConfigurationError(f"{plan}: can't be read: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise ConfigurationError(f"{plan}: is not what `kon run --dry-run --json` prints: {error}") from error


async def _until_stopped(
    runs: list[Awaited],
    root: Path,
    number: int,
    elastic: bool,
    fleet: str | None,
    patience_s: float | None,
) -> None:
    async with _finder(fleet) as find:
        host = Host(
            runs,
            root,
            number,
            elastic=elastic,
            find=find,
            patience_s=patience_s,
            on_note=lambda text: note(f"host {number}: {text}"),
        )
        interrupted = False

        def end(number: signal.Signals) -> None:
            nonlocal interrupted
            interrupted = interrupted or number == signal.SIGINT
            host.stop()

        loop = asyncio.get_running_loop()
        for each in ending_signals():
            loop.add_signal_handler(each, end, each)
        await host.run()
    if interrupted:
        raise Interrupted("interrupted; the workers have ended")


@asynccontextmanager
async def _finder(fleet: str | None) -> AsyncIterator[Finder | None]:
    """What finds a fleet's runs by their queues; None without a fleet."""
    if fleet is None:
        yield None
        return
    from kon.backends.aws import AwsBackend
    from kon.fleet.thing import Filter

    backend = AwsBackend({"prefix": Filter(fleet).stem})

    async def find() -> list[Awaited]:
        return [Awaited(each.run, Plugin("aws", each.options)) for each in await backend.found()]

    try:
        yield find
    finally:
        await backend.close()
