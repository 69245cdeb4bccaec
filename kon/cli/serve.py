"""`kon serve`"""

from __future__ import annotations

import asyncio
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from kon.cli.interrupts import ending_signals
from kon.cli.output import note
from kon.cli.runs import find_runs, root_option, runs_argument
from kon.core.errors import ConfigurationError
from kon.engine.records.records import RunFolder
from kon.report.live import check_installed

if TYPE_CHECKING:  # aiohttp takes a while to load
    from kon.report.live.watching import Discover

FAREWELL: Final = "kon serve was ended."


@click.command()
@runs_argument
@root_option
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="Where to listen. Beyond this machine, a token is needed, which stands in the link.",
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, metavar="N", help="[default: one that is free]"
)
@click.option("--open", "open_browser", is_flag=True, help="Open the page in a browser.")
def serve(runs: tuple[str, ...], root: Path, host: str, port: int, open_browser: bool) -> None:
    """Show runs in a browser as they go on, until Ctrl-C: progress, throughput, workers, failures, cost.

    RUN is a run's id or the folder of its records, DIR a folder of several, in which new ones are found as
    they begin; without names all below --root. It prints the page's link. It reads the runs' records and
    nothing else, and may be started and ended at any time; while nobody looks, it does nothing.

    \b
    Examples:
      kon serve
      kon serve exp-lease-w1-r1 --open
      kon serve results/exp --port 8080
      ssh -L 8080:localhost:8080 host   # then the page of that host is at http://localhost:8080/
    """
    check_installed()
    found = find_runs(runs, root)
    if not found:
        raise ConfigurationError(f"there is no run below {root}; `kon run` makes one")
    for folder in found if len(found) == 1 else ():
        folder.read_run()  # by itself it can't be shown as unreadable among others

    def discover() -> Sequence[RunFolder]:
        return find_runs(runs, root)

    asyncio.run(_serve(discover, host, port, open_browser))


async def _serve(discover: Discover, host: str, port: int, open_browser: bool) -> None:
    from kon.launch.page import Acts
    from kon.report.live.server import serving

    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in ending_signals():
        loop.add_signal_handler(number, over.set)
    async with serving(discover, host=host, port=port, farewell=FAREWELL, actions=Acts()) as server:
        click.echo(server.link)
        if server.is_public:
            note(
                f"whoever has this link can see, cancel and retry these runs from wherever {host} is "
                "reached, and nothing is encrypted; docs/live.md has safer ways. Ctrl-C ends it"
            )
        else:
            note("for this machine alone; docs/live.md says how to reach it from another. Ctrl-C ends it")
        if open_browser and not await asyncio.to_thread(webbrowser.open, server.link):
            note("there is no browser here that could be opened; open the link yourself")
        await over.wait()
