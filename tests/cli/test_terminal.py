"""What is printed on a terminal fits it."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import termios
from pathlib import Path

import pytest
from rich.cells import cell_len

from kon.cli.commands import COMMANDS
from kon.core.spec import Plugin
from kon.core.task import State
from kon.engine.records.events import Event
from kon.report.summary import summarise
from tests.cli.given import invoke
from tests.loaded import python
from tests.report.made import Records

FITS = {
    "table": ["runs"],
    "status": ["runs"],
    "runs": ["runs"],
    "compare": ["an-experiment-lease-w1-r1", "an-experiment-conditional_put-w1-r1", "--root", "runs"],
    "explain": ["an-experiment-lease-w1-r1", "3", "--root", "runs"],
    "run": ["exp.yml", "--dry-run"],
    "config": [],
    "plan": ["sim.yml", "--quiet"],
    "prove": ["lease", "--seeds", "2", "--quiet"],
    "init": ["new"],
}
"""Commands whose output is for people to read, with words that make it wide enough to break."""

LINES = "map validate calibrate serve report plot submit worker cancel gather join rm clean up down restore "
LINES += "sweep autoscale equip emulator"
OTHERWISE = {
    "top": "redraws the screen",
    "doctor": "its exit code is the machine's",
    "collect": "prints what `run` prints",
    "cost": "two columns",
    **dict.fromkeys(["results", "dead", "trace", "schema", "man", "completion", "generate"], "data"),
    **dict.fromkeys(LINES.split(), "lines"),
}
"""Why the others are not here."""

SIMULATED = """\
name: an-experiment-whose-name-is-long
backend: {name: sim, latency: aws-us-east-1}
workload: {kind: sleep, count: 100, seconds: 1}
workers: [2, 4]
strategies: [lease, conditional_put]
"""


def test_a_new_command_is_tried_on_a_terminal_or_says_why_not() -> None:
    assert set(COMMANDS) == FITS.keys() | OTHERWISE.keys()


@pytest.mark.parametrize("command", FITS)
def test_what_a_command_prints_fits_80_columns(
    runs: Path, tmp_path: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KON_TABLE_ROOT", f"/{'a-long-folder/' * 8}")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sim.yml").write_text(SIMULATED)
    long = "{kind: sleep, count: 5, seconds: 0}\nworkers: [1, 2]\n"
    (tmp_path / "exp.yml").write_text(
        f"name: {'long-name-' * 3}x\nworkload: {long}strategies: [lease, none]\n"
    )
    lines = on_terminal(80, command, *FITS[command])
    assert len(lines) > 1
    assert [line for line in lines if cell_len(line) > 80] == []


@pytest.mark.parametrize(
    "words",
    [
        ["--fault", "resurrect", "--seeds", "2", "--story", "--quiet"],
        ["--fault", "duplicate", "--seed", "0"],
        ["--fault", "resurrect", "--exhaustive", "--preemptions", "0", "--quiet"],
    ],
)
def test_stories_of_a_search_fit_80_columns(words: list[str]) -> None:
    lines = on_terminal(80, "prove", "none", *words)
    assert [line for line in lines if cell_len(line) > 80] == []
    assert any("starts task" in line for line in lines) or "--exhaustive" in words


def on_terminal(columns: int, *words: str | Path) -> list[str]:
    """The lines of a command that runs on a terminal of that width."""
    command = [*python(), "-m", "kon"]
    pid, fd = pty.fork()
    if pid == 0:
        fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        environment = {**os.environ, "TERM": "xterm"}
        environment.pop("COLUMNS", None)
        os.execve(command[0], [*command, *map(str, words)], environment)
    found = b""
    while True:
        try:
            part = os.read(fd, 65_536)
        except OSError:  # how a terminal ends whose process has gone
            break
        if not part:
            break
        found += part
    os.close(fd)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, found.decode()
    return found.decode().splitlines()


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder of three runs of one experiment."""
    made = tmp_path / "runs"
    made.mkdir()
    for number, strategy in enumerate(("conditional_put", "read_then_write", "lease")):
        run = f"an-experiment-{strategy}-w1-r1"
        records = Records(tmp_path / strategy, 10, run=run, strategy=Plugin(strategy), ideal_s=0.5)
        records.answered(State.DONE, range(10))
        records.life("w1.a").tasks(Event.START, [0] * (number + 1))
        records.ran(0.0, 1.0 + number)
        records.folder.write_summary(summarise(records.folder))
        records.folder.path.rename(made / run)
    return made


@pytest.mark.parametrize("columns", [60, 80])
@pytest.mark.parametrize("command", ["table", "status"])
def test_tables_fit_and_lose_nothing(runs: Path, command: str, columns: int) -> None:
    lines = on_terminal(columns, command, runs)
    assert max(map(cell_len, lines)) <= columns
    assert any(line.startswith("Not shown") for line in lines)
    wide = on_terminal(columns, command, runs, "--wide")
    assert not any(line.startswith("Not shown") for line in wide)
    assert max(map(cell_len, wide)) > columns
    piped = invoke(command, runs)
    assert piped.stdout.splitlines() == wide, "off a terminal, all columns"
