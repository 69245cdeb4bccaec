"""Commands over a list of arguments, as people do it from a shell: `python -m benchmarks.map`.

`kon map` compared with xargs, GNU parallel and HyperQueue: whole processes with their start-up, each given
the same arguments on standard input and two commands at once, in turn over several rounds. A ratio is of
one round; of all rounds the table has the median, and the lowest and highest. What is not installed is
left out, and it says so. CPU time is that of everything: of the program, its helpers and the commands.
HyperQueue keeps no output, which all others print.
"""

from __future__ import annotations

import os
import resource
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Final, NamedTuple

import click
import msgspec
from tabulate import tabulate

AT_ONCE: Final = 2
LIMIT_S: Final = 600.0
"""How long one program may take for a work."""

XARGS: Final = f"xargs -P{AT_ONCE}"
_KON: Final = [sys.executable, "-c", "from kon.cli import main; main()", "map", f"-j{AT_ONCE}"]


class Measured(msgspec.Struct, frozen=True):
    """One program, over all commands of one round; in seconds."""

    wall_s: float
    cpu_s: float


class Work(NamedTuple):
    """Commands of one kind. words: before the argument. share: how many there are, of the usual number."""

    label: str
    words: list[str]
    share: float = 1.0


WORKS: Final = (
    Work("true", ["true"]),
    Work("sleep 0.1", ["sh", "-c", "sleep 0.1"], 0.02),
    Work("1 MB of output", ["sh", "-c", "head -c 1000000 /dev/zero"], 0.1),
)


def contenders(scratch: Path, work: Work) -> dict[str, list[str]]:
    """By name, what runs a work for each line of standard input. What is not there is told on stderr."""
    kept = ["--out", str(scratch / "out"), "--joblog", str(scratch / "log")]
    command = shlex.join(work.words)
    found = {
        XARGS: ["xargs", f"-P{AT_ONCE}", "-n1", *work.words],
        "kon map": [*_KON, command],
        "kon map, all recorded": [*_KON, *kept, command],
        "GNU parallel": ["parallel", "--will-cite", f"-j{AT_ONCE}", "-q", *work.words],
    }
    for name in [name for name, (program, *_) in found.items() if shutil.which(program) is None]:
        left_out(name, f"there is no {found.pop(name)[0]} on PATH")
    if find_spec("hyperqueue") is None:
        left_out("HyperQueue", "its package is not installed: make bench installs it")
    else:
        found["HyperQueue"] = [
            sys.executable,
            "-m",
            "benchmarks.peers.hyperqueue_commands",
            str(AT_ONCE),
            shutil.which(work.words[0]) or work.words[0],
            *work.words[1:],
        ]
    return found


def left_out(name: str, why: str) -> None:
    click.echo(f"{name} is left out: {why}", err=True)


def measure(argv: Sequence[str], items: IO[bytes]) -> Measured:
    """Raises CalledProcessError for a program that fails, TimeoutExpired for one that hangs."""
    items.seek(0)
    before, began_s = _children_s(), time.perf_counter()
    subprocess.run(
        argv, stdin=items, stdout=subprocess.DEVNULL, check=True, timeout=LIMIT_S, env=_environment()
    )
    return Measured(time.perf_counter() - began_s, _children_s() - before)


def _environment() -> dict[str, str]:
    """This process's, but Python may keep what it compiles, as it does for programs that are installed."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def _children_s() -> float:
    """CPU seconds of all processes that this one has waited for, and that those have."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def rows(rounds: Sequence[dict[str, Measured]], commands: int) -> list[tuple[str, ...]]:
    """A row for each program; ratios are of throughput, round by round."""
    table: list[tuple[str, ...]] = []
    for name in rounds[0]:
        of_xargs = [each[XARGS].wall_s / each[name].wall_s for each in rounds]
        of_cpu = [each[XARGS].cpu_s / each[name].cpu_s for each in rounds]
        walls_s = [each[name].wall_s for each in rounds]
        cpu_s = statistics.median(each[name].cpu_s for each in rounds)
        table.append(
            (
                name,
                f"{commands / statistics.median(walls_s):,.0f}",
                f"{statistics.median(of_xargs):.2f}",
                f"{min(of_xargs):.2f} to {max(of_xargs):.2f}",
                f"{cpu_s / commands * 1e6:,.0f}",
                f"{statistics.median(of_cpu):.2f}",
            )
        )
    return table


HEADERS: Final = ("", "commands/s", "of xargs", "lowest to highest", "CPU, us a command", "of xargs")


def measure_rounds(commands: int, rounds: int, work: Work = WORKS[0]) -> list[dict[str, Measured]]:
    """What each program took, in each round."""
    found: list[dict[str, Measured]] = []
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "items").open("w+b") as items:
        items.write(b"".join(b"%d\n" % number for number in range(commands)))
        items.flush()
        programs = contenders(Path(folder), work)
        if XARGS not in programs:
            raise click.ClickException("without xargs there is nothing to compare with; install findutils")
        for _ in range(1 + rounds):  # in the first, programs come from the disk and may be compiled
            found.append({name: measure(argv, items) for name, argv in programs.items()})
            shutil.rmtree(Path(folder) / "out", ignore_errors=True)
    return found[1:]


@click.command()
@click.option("--commands", default=5_000, show_default=True, help="Commands in each measurement.")
@click.option("--rounds", default=3, show_default=True, help="Measurements of each.")
def main(commands: int, rounds: int) -> None:
    print(
        f"A command for each argument, {AT_ONCE} at once on {os.cpu_count()} processors, with all start-up; "
        f"{rounds} rounds"
    )
    for work in WORKS:
        count = max(2 * AT_ONCE, round(work.share * commands))
        print(f"\n{work.label}, {count:,} commands\n")
        table = rows(measure_rounds(count, rounds, work), count)
        print(tabulate(table, HEADERS, colalign=("left", *["right"] * 5), disable_numparse=True))
    [few] = measure_rounds(AT_ONCE, 1)
    alone = ", ".join(f"{name} {each.wall_s:.2f}" for name, each in few.items())
    print(f"\n{AT_ONCE} commands alone, in seconds: {alone}")


if __name__ == "__main__":
    main()
