"""`kon top`: a run on a terminal, as the live page shows it."""

from __future__ import annotations

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click
import msgspec
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from kon.api.progress import can_redraw
from kon.cli.output import json_option, print_json
from kon.cli.progress import duration
from kon.cli.runs import find_run, known_runs, root_option, runs_below
from kon.core.errors import ConfigurationError, StoreError, counted, printable
from kon.engine.records.records import RunFolder
from kon.report.live.follower import Follower
from kon.report.live.snapshot import LifeShown, Snapshot
from kon.report.live.watching import LOOK_S
from kon.report.read.recent import Failure
from kon.report.tables import rounded

_Pressed = Callable[[float], bool]

_LEAVE: Final = (b"q", b"Q", b"\x1b", b"")
"""Escape and the end of input too."""


@click.command()
@click.argument("run", metavar="[RUN]", required=False, shell_complete=known_runs)
@root_option
@json_option
def top(run: str | None, root: Path, as_json: bool) -> None:
    """Follow RUN on the terminal; without RUN, the one below --root that began last.

    It shows progress, throughput, workers and their slots, duplicates, second starts, cost, and failures with
    the end of their output. q or Ctrl-C ends it. Where stdout is no terminal, it prints once and ends.

    \b
    Examples:
      kon top
      kon top exp-lease-w1-r1
      kon top exp-lease-w1-r1 --json | jq .tasks_per_s
    """
    folder = find_run(run, root) if run is not None else _latest(root)
    folder.read_run()  # what can't be read at all is an error, and no picture
    follower = Follower(folder, folder.path.name, time.time)
    if as_json or not can_redraw(sys.stdout):
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


# --- the picture -----------------------------------------------------------------------------------

_BARS: Final = "▁▂▃▄▅▆▇█"

_STYLES: Final = {
    "running": "green",
    "finished": "green",
    "working": "green",
    "failed": "red",
    "dead": "red",
    "lost": "red",
    "killed": "red",
    "unreadable": "red",
    "gone": "red",
    "stopped": "yellow",
    "detached": "yellow",
    "silent": "yellow",
    "retry": "yellow",
}
"""Colours of states; each stands there as a word too."""


def summary_lines(run: Snapshot) -> list[str]:
    """Where it stands, in words."""
    accounted = run.tasks - run.left
    first = f"{accounted:,} of {run.tasks:,} tasks"
    if run.elapsed_s is not None:
        first += f" in {duration(run.elapsed_s)}"
    if run.left_s is not None:
        first += f", about {duration(run.left_s)} left"
    lately = run.tasks_per_s is not None
    rate = run.tasks_per_s if lately else run.mean_tasks_per_s
    ended = {"dead": run.dead, "lost": run.lost, "cancelled": run.cancelled}
    counts = [f"{run.done:,} done", f"{run.failed:,} failed"]
    counts += [f"{number:,} {name}" for name, number in ended.items() if number]
    return [
        first,
        ", ".join([*counts, f"{run.left:,} left", f"{counted(run.retries, 'attempt')} tried again"]),
        f"{'-' if rate is None else rounded(rate)} tasks/s {'lately' if lately else 'in all'}"
        f"; {counted(run.lives_at_work, 'worker')}, {run.slots_busy:,} of {run.slots:,} slots busy",
        f"{run.deliveries_again:,} delivered again, {run.avoided:,} duplicates avoided, "
        f"{counted(run.second_starts, 'second start')}, {counted(run.second_results, 'result')} kept twice",
        f"{counted(run.requests, 'request')}{_cost(run)}",
        *([run.problem] if run.problem else []),
        *run.notes,
    ]


def _cost(run: Snapshot) -> str:
    return ", none billed" if run.usd is None else f", ${run.usd:.4g} so far ({run.prices}, without hosts)"


def worker_cells(life: LifeShown) -> tuple[str, ...]:
    """Name, state, what is in its slots, tasks, failed."""
    busy = [f"{each.task} ({duration(each.for_s)})" for each in life.busy]
    slots = "?" if life.slots is None else f"{len(life.busy)}/{life.slots}"
    return life.name, life.state, " ".join([slots, *busy]), f"{life.tasks:,}", f"{life.failed:,}"


def failure_cells(failure: Failure) -> tuple[str, ...]:
    """Task, state, attempt, worker, error and the end of its output."""
    last = [text.strip().splitlines()[-1] for text in failure.output.values() if text.strip()]
    text = " | ".join(filter(None, [failure.error, failure.output.get("stderr", "").strip()[-200:] or None]))
    text = text or " | ".join(last)
    return f"{failure.task}", failure.state, f"{failure.attempt}", failure.worker, printable(text)


WORKER_HEADERS: Final = ("worker", "state", "slots", "tasks", "failed")
FAILURE_HEADERS: Final = ("task", "state", "attempt", "worker", "error")


def plain(run: Snapshot, failures: Sequence[Failure]) -> Iterator[str]:
    """One look, as lines for a file or a pipe."""
    yield f"{run.name}: {run.state}"
    yield run.about
    yield from summary_lines(run)
    for life in run.lives:
        name, state, slots, tasks, failed = worker_cells(life)
        yield f"worker {name}: {state}, slots {slots}, tasks {tasks}, failed {failed}"
    for failure in failures:
        task, state, attempt, worker, text = failure_cells(failure)
        yield f"task {task}: {state} in attempt {attempt} on {worker}: {text}"


def picture(run: Snapshot, failures: Sequence[Failure], width: int, height: int, hint: str) -> RenderableType:
    """One look, to fill a terminal of that size."""
    words = summary_lines(run)
    accounted = run.tasks - run.left
    head = Text.assemble((run.name, "bold"), "  ", (run.state, _STYLES.get(run.state, "")), no_wrap=True)
    bar = Table.grid(padding=(0, 1))
    bar.add_row(ProgressBar(run.tasks, accounted, width=max(10, width - 8)), f"{accounted / run.tasks:.0%}")
    lines: list[RenderableType] = [head, Text(run.about, "dim", no_wrap=True, overflow="ellipsis"), bar]
    lines += [Text(line, no_wrap=True, overflow="ellipsis") for line in words]
    lines.append(Text(spark(run.throughput.tasks, width), "cyan", no_wrap=True))
    free = max(4, height - len(lines) - 5)  # headers of two tables, and the hint
    shown = failures[: max(1, free // 2)] if failures else []
    lives = sorted(run.lives, key=lambda life: life.state in ("ended", "killed"))
    lives = lives[: max(1, free - len(shown))]
    parts: list[RenderableType] = [*lines, _table(WORKER_HEADERS, map(worker_cells, lives))]
    if shown:
        parts.append(_table(FAILURE_HEADERS, map(failure_cells, shown)))
    rest = len(run.lives) - len(lives)
    more = f"{rest:,} more workers; " if rest else ""
    return Group(*parts, Text(f"{more}{hint}", "dim"))


def spark(counts: Sequence[int], width: int) -> str:
    """Throughput over time in one line, the last part of time that is over at its end."""
    whole = list(counts[:-1] if len(counts) > 1 else counts)
    per = max(1, -(-len(whole) // max(1, width)))
    sums = [sum(whole[at : at + per]) for at in range(0, len(whole), per)]
    most = max(sums, default=0) or 1
    return "".join(_BARS[min(len(_BARS) - 1, number * len(_BARS) // (most + 1))] for number in sums)


def _table(headers: Sequence[str], rows: Iterator[tuple[str, ...]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", expand=True)
    for number, header in enumerate(headers):
        last = number == (4 if headers is FAILURE_HEADERS else 2)
        table.add_column(header, no_wrap=True, overflow="ellipsis", ratio=1 if last else None)
    for row in rows:
        # texts, not markup: what a task prints is not obeyed
        table.add_row(*(Text(cell, _STYLES.get(cell, "") if at == 1 else "") for at, cell in enumerate(row)))
    return table
