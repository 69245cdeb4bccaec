"""`kon top`"""

from __future__ import annotations

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click
import msgspec

from kon.cli.output import json_option, print_json
from kon.cli.runs import find_run, known_runs, root_option, runs_below
from kon.core.errors import ConfigurationError, StoreError
from kon.engine.records.records import RunFolder
from kon.report.live.follower import Follower
from kon.report.live.snapshot import Snapshot

LOOK_S: Final = 0.5
"""Between two looks, in seconds."""


_Pressed = Callable[[float], bool]

_LEAVE: Final = (b"q", b"Q", b"\x1b", b"")
"""Escape and the end of input too."""


@click.command()
@click.argument("run", metavar="[RUN]", required=False, shell_complete=known_runs)
@root_option
@json_option
def top(run: str | None, root: Path, as_json: bool) -> None:
    """Follow RUN on the terminal as it goes on; without RUN that below --root which was begun last.

    Progress, throughput, workers and what is in their slots, duplicates, second starts, cost, and what failed
    with the end of its output. q or Ctrl-C ends it. Where stdout is no terminal, it shows how things stand
    once, and ends.

    \b
    Examples:
      kon top
      kon top exp-lease-w1-r1
      kon top exp-lease-w1-r1 --json | jq .tasks_per_s
    """
    folder = find_run(run, root) if run is not None else _latest(root)
    folder.read_run()  # what can't be read at all is an error, and no picture
    follower = Follower(folder, folder.path.name, time.time)
    if as_json or not sys.stdout.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        _once(follower, as_json)
    else:
        _follow(follower)


def _latest(root: Path) -> RunFolder:
    """The run that was begun last, of those that are not over if there are any."""
    runs = runs_below(root)
    if not runs:
        raise ConfigurationError(f"there is no run below {root}; `kon run` makes one")
    return max(runs, key=lambda each: (not each.finished, each.run_file.stat().st_mtime))


def _once(follower: Follower, as_json: bool) -> None:
    from kon.cli.topview import plain

    run, failures = _looked(follower), follower.failures().shown
    if as_json:
        print_json({**msgspec.to_builtins(run), "failures": msgspec.to_builtins(failures)})
    else:
        for line in plain(run, failures):
            click.echo(line)


def _looked(follower: Follower) -> Snapshot:
    """All that there is by now. Raises StoreError."""
    follower.look()
    while follower.behind:
        follower.look()
    found = follower.snapshot()
    if found is None or found.problem:
        raise StoreError(found.problem if found is not None else f"{follower.folder.path}: is gone")
    return found


def _follow(follower: Follower) -> None:
    from rich.console import Console
    from rich.live import Live

    from kon.cli.topview import picture

    console = Console(highlight=False)
    with _keys() as pressed, Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            began_s = time.monotonic()
            follower.look()
            run = follower.snapshot()
            if run is not None:
                width, height = console.size
                drawn = picture(run, follower.failures().shown, width, height, "q ends this; the run goes on")
                live.update(drawn, refresh=True)
            took_s = time.monotonic() - began_s
            if pressed(took_s if follower.behind else LOOK_S):
                return


@contextmanager
def _keys() -> Iterator[_Pressed]:
    """Within it, keys are read as they are pressed. What it gives waits that many seconds, and says whether
    somebody wants to leave."""
    fd = sys.stdin.fileno()
    if not sys.stdin.isatty():
        yield _sleep
        return

    def pressed(wait_s: float) -> bool:
        ready, _, _ = select.select([fd], [], [], wait_s)
        return bool(ready) and os.read(fd, 64) in _LEAVE

    before = termios.tcgetattr(fd)
    try:
        tty.setcbreak(fd)
        yield pressed
    except KeyboardInterrupt:
        pass  # that is how one leaves
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


def _sleep(wait_s: float) -> bool:
    time.sleep(wait_s)
    return False
