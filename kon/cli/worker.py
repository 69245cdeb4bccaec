"""`kon worker`"""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections.abc import Iterator
from pathlib import Path

import click

from kon.cli.inherited import metrics_option
from kon.cli.interrupts import ending_signals
from kon.cli.output import note, quiet_option
from kon.cli.runs import find_run, root_option, run_argument
from kon.core.errors import Interrupted
from kon.engine.control import Control
from kon.engine.records.records import RunFolder
from kon.launch.crew import worker_names
from kon.launch.liveness import runs_here
from kon.launch.resume import go_where_it_began, opened
from kon.launch.supervise import WorkerProcesses


@click.command()
@run_argument
@click.option("--name", help="The worker's name; with -n each gets a number too.  [default: w1, w2, ...]")
@click.option(
    "--idle",
    "idle_s",
    type=click.FloatRange(min=0),
    metavar="S",
    help="End when the queue has been empty for S seconds.  [default: what the run says]",
)
@click.option(
    "-n", "--processes", type=click.IntRange(min=1), default=1, show_default=True, help="Worker processes."
)
@metrics_option
@root_option
@quiet_option
def worker(run: str, name: str | None, idle_s: float | None, processes: int, root: Path, quiet: bool) -> None:
    """Work on RUN, until it is over.

    A worker that dies is replaced. SIGTERM or Ctrl-C lets running tasks end and gives back what has not
    started; a second one ends them at once.

    \b
    Example:
      kon worker exp-lease-w1-r1 -n 4 --idle 60
    """
    folder = find_run(run, root)
    if folder.finished:
        note(f"{folder.path.name} is over; there is nothing to do")
        return
    go_where_it_began(folder.read_run())
    asyncio.run(_work(folder, name, idle_s, processes, quiet))


async def _work(
    folder: RunFolder, name: str | None, idle_s: float | None, processes: int, quiet: bool
) -> None:
    names = list(itertools.islice(_numbered(name), processes)) if name else await _free(folder, processes)
    if name and processes == 1:
        names = [name]
    crew = WorkerProcesses(folder, names, options=[] if idle_s is None else ["--idle", f"{idle_s:g}"])
    interrupted = []

    def on_signal(number: signal.Signals) -> None:
        interrupted.append(number)
        if len(interrupted) == 1:
            note("draining: running tasks may end, the rest is given back; once more ends them at once")
            crew.stop()
        else:
            crew.kill()

    loop = asyncio.get_running_loop()
    for number in ending_signals():
        loop.add_signal_handler(number, on_signal, number)
    if not quiet:
        note(f"{folder.path.name}: at work with {', '.join(names)}; what they say is in {folder.logs}/")
    await crew.run()
    if signal.SIGINT in interrupted:
        raise Interrupted("interrupted; the workers have ended")
    if not quiet:
        note("the workers have ended")


async def _free(folder: RunFolder, processes: int) -> list[str]:
    """Names of the run's workers that nobody here works under, then further ones."""
    async with opened(folder) as channel:
        workers = await Control(channel.control).workers()
    taken = {each.name.rpartition(".")[0] for each in workers if runs_here(each)}
    own = worker_names(folder.read_run().spec)
    names = itertools.chain(own, (name for name in _numbered("w") if name not in own))
    return list(itertools.islice((name for name in names if name not in taken), processes))


def _numbered(stem: str) -> Iterator[str]:
    return (f"{stem}{number}" for number in itertools.count(1))
