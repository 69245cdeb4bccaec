"""What a process costs as a task: `python -m benchmarks.shell`.

The bare kind `shell`, two commands in flight, without queue, ledger or worker, beside programs that
do nothing but run commands, and beside the other ways in which Python could start them. All run
`true`, in turn, over several rounds, and each shows its best. Prints a table; judges nothing.
"""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

import click
import msgspec
from tabulate import tabulate

from kon.core.kind import Attempt
from kon.kinds.shell import Shell
from kon.kinds.spawn import Spawner, have_pidfd

IN_FLIGHT: Final = 2


class Measured(msgspec.Struct, frozen=True):
    """commands_per_s, and the CPU time of the starting process itself for each command."""

    commands_per_s: float
    cpu_us: float


def by_program(argv: list[str], commands: int) -> float:
    """Seconds that a program takes which reads one argument a line and runs `true` for each."""
    lines = "".join(f"{number}\n" for number in range(commands))
    began_s = time.perf_counter()
    subprocess.run(argv, input=lines, text=True, check=True)
    return time.perf_counter() - began_s


def in_flight(run: Callable[[int], Awaitable[object]], commands: int) -> float:
    """Seconds that it takes to run that many, some at a time."""

    async def slot(numbers: Iterator[int]) -> None:
        for number in numbers:
            await run(number)

    async def main() -> float:
        numbers = iter(range(commands))
        began_s = time.perf_counter()
        await asyncio.gather(*(slot(numbers) for _ in range(IN_FLIGHT)))
        return time.perf_counter() - began_s

    return asyncio.run(main())


def kind(options: dict[str, object], use_pidfd: bool = have_pidfd()) -> Callable[[int], float]:
    def measure(commands: int) -> float:
        shell = Shell(options)
        shell._spawner = Spawner(max_output_bytes=65_536, kill_grace_s=2.0, use_pidfd=use_pidfd)
        return in_flight(lambda number: shell.execute(str(number), Attempt("bench", number, 1)), commands)

    return measure


def asyncio_subprocess(commands: int) -> float:
    async def run(number: int) -> None:
        process = await asyncio.create_subprocess_exec(
            "true",
            str(number),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,
        )
        await process.communicate()

    return in_flight(run, commands)


def posix_spawn(commands: int) -> float:
    """The least that Python can do: no working folder, pipes read once at the end."""
    null = os.open(os.devnull, os.O_RDONLY)
    program = shutil.which("true") or "true"

    async def run(number: int) -> None:
        loop = asyncio.get_running_loop()
        out, out_end = os.pipe()
        err, err_end = os.pipe()
        duplicates = [
            (os.POSIX_SPAWN_DUP2, ours, theirs) for theirs, ours in enumerate((null, out_end, err_end))
        ]
        pid = os.posix_spawn(  # noqa: ASYNC221 - that it blocks is part of what it costs
            program, ["true", str(number)], os.environ, file_actions=duplicates, setpgroup=0
        )
        os.close(out_end)
        os.close(err_end)
        pidfd = os.pidfd_open(pid)
        ended = loop.create_future()
        loop.add_reader(pidfd, ended.set_result, None)
        await ended
        loop.remove_reader(pidfd)
        os.waitpid(pid, 0)  # noqa: ASYNC222 - it has ended
        for end in (out, err):
            os.read(end, 65_536)
            os.close(end)
        os.close(pidfd)

    took_s = in_flight(run, commands)
    os.close(null)
    return took_s


def contenders() -> dict[str, Callable[[int], float]]:
    """By name, what runs a number of commands and says in how many seconds."""
    xargs = ["xargs", f"-P{IN_FLIGHT}", "-n1", "true"]
    rows: dict[str, Callable[[int], float]] = {
        "xargs -P2": lambda commands: by_program(xargs, commands),
        "kon, true {}": kind({"command": "true {}"}),
        "kon, by /bin/sh": kind({"command": 'true "{}"'}),
        "kon, in a folder": kind({"command": "true {}", "cwd": "/"}),
    }
    if have_pidfd():
        rows["kon, no pidfd"] = kind({"command": "true {}"}, use_pidfd=False)
        rows["posix_spawn, pidfd"] = posix_spawn
    rows["asyncio's subprocess"] = asyncio_subprocess
    if shutil.which("parallel"):
        parallel = ["parallel", "--will-cite", f"-j{IN_FLIGHT}", "true"]
        rows["GNU parallel -j2"] = lambda commands: by_program(parallel, commands)
    return rows


def measured(run: Callable[[int], float], commands: int) -> Measured:
    before = resource.getrusage(resource.RUSAGE_SELF)
    took_s = run(commands)
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Measured(commands / took_s, cpu_s / commands * 1e6)


@click.command()
@click.option("--commands", default=2_000, help="Commands in each measurement.")
@click.option("--rounds", default=3, help="Measurements of each; the best counts.")
def main(commands: int, rounds: int) -> None:
    rows = contenders()
    best: dict[str, Measured] = {}
    for _ in range(rounds):
        for name, run in rows.items():
            found = measured(run, commands)
            if name not in best or found.commands_per_s > best[name].commands_per_s:
                best[name] = found
    xargs = best["xargs -P2"].commands_per_s
    table = [
        (name, f"{each.commands_per_s:,.0f}", f"{each.commands_per_s / xargs:.2f}", f"{each.cpu_us:,.0f}")
        for name, each in best.items()
    ]
    print(f"`true` as a process, {IN_FLIGHT} in flight, {commands:,} in a round, the best of {rounds} rounds")
    print(tabulate(table, ["", "a second", "of xargs", "own CPU, us"], colalign=("left", *["right"] * 3)))


if __name__ == "__main__":
    main()
