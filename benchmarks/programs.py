"""Benchmarks that are programs of their own, and print their tables themselves.

Those without peers are not among them: `benchmarks.store` and `benchmarks.sim_loop` say what parts of kon
cost, `benchmarks.sim` and `benchmarks.cloudkon` are about the simulator.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, Final

from benchmarks.experiment import Experiment, Point, Record, Section

PROGRAMS: Final[dict[str, tuple[str, list[str], list[str]]]] = {
    "benchmarks.shell": (
        "Processes: what a command costs as a task",
        ["--commands", "1000"],
        ["--commands", "300", "--rounds", "1"],
    ),
    "benchmarks.map": (
        "Commands over a list of arguments",
        ["--commands", "3000"],
        ["--commands", "300", "--rounds", "1"],
    ),
    "benchmarks.executor": (
        "Python functions over a list of arguments",
        ["--rounds", "5"],
        ["--rounds", "1", "--scale", "0.05"],
    ),
}
"""Title, and arguments in full and for a quick look."""

WHY: Final[dict[str, list[str]]] = {
    "benchmarks.map": [
        """Why `kon map` is slower than xargs with `true`: its start of 0.2 s is up to a seventh of the time
    of 3,000 commands, and to capture, record and collect takes 0.15 ms of CPU time for each. On
    machines where xargs takes 1.7 s for them, kon does 0.83 times as many; with 12,000, 0.87 to 0.95
    times. A bare loop of Python's, with posix_spawn and pidfd, does 0.93 times as many, without any
    start (above). So 0.9 with 3,000 would need a start below 0.1 s, which Python takes for asyncio,
    click, msgspec and sqlite3 alone; or a compiled program that starts the commands and waits for
    them."""
    ]
}
"""What is said next to a table."""


def output(module: str, arguments: list[str]) -> dict[str, Any]:
    """What a program prints."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], stdout=subprocess.PIPE, text=True, check=True
    )
    return {"output": done.stdout.rstrip()}


class Program(Experiment):
    """One of the programs, as an experiment of one measurement."""

    def __init__(self, module: str) -> None:
        self._module = module
        self._title, self._arguments, self._quick = PROGRAMS[module]
        self.name = module.rpartition(".")[2]

    def points(self, quick: bool) -> list[Point]:
        arguments = self._quick if quick else self._arguments
        options = {"module": self._module, "arguments": arguments}
        return [Point(self._module, "benchmarks.programs:output", options)]

    def draw(self, records: Sequence[Record]) -> Section:
        (record,) = records
        command = " ".join(["python -m", self._module, *record.point.options["arguments"]])
        return Section(
            self._title, notes=[f"`{command}`", *WHY.get(self._module, ())], output=record.figures["output"]
        )


def programs() -> list[Program]:
    return [Program(module) for module in PROGRAMS if find_spec(module) is not None]
