"""Standard output that is closed or full: each command says so in a line, with exit code 2. Where standard
error is full, what would be said is lost, and nothing else."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from kon.cli.commands import COMMANDS
from tests.cli.given import process
from tests.loaded import python

SMALL = "name: small\nworkload: {kind: sleep, count: 2, seconds: 0}\n"
RUN = "small-lease-w1-r1"

WORDS = {
    "cancel": None,  # of what is under way, and so is collect
    "cost": None,
    "autoscale": None,  # what needs an account
    **dict.fromkeys(("up", "down", "sweep", "equip", "restore", "calibrate", "trace")),
    **dict.fromkeys(("join", "worker", "gather")),  # their words stand in a log
    "rm": None,
    "clean": None,
    "run": ["run", "small.yml"],
    "map": ["map", "echo", ":::", "a"],
    "init": ["init", "NEW"],
    "validate": ["validate", "small.yml"],
    "generate": ["generate", "sleep", "3"],
    "plan": ["plan", "small.yml", "--workers", "1"],
    "status": ["status"],
    "runs": ["runs"],
    "top": ["top", RUN],
    "serve": ["serve", RUN],
    "compare": ["compare", RUN, RUN],
    "dead": ["dead", "list", "--json", RUN],
    "explain": ["explain", f"{RUN}/1"],
    "submit": ["submit", "small.yml", "--out", "later"],
    "emulator": ["emulator"],
    "prove": ["prove", "lease", "--seeds", "1", "--fault", "none"],
    "config": ["config", "--json"],
    "completion": ["completion", "bash"],
    "plot": None,
    "collect": None,
    **{name: [name] for name in ("schema", "man", "doctor")},
    **{name: [name, RUN] for name in ("table", "results")},
    "report": ["report", "--force", RUN],
}
"""What each command is called with; None for those that are left out, with the reason."""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("closed")
    (folder / "small.yml").write_text(SMALL)
    assert process("run", "small.yml", "-q", cwd=folder).returncode == 0
    return folder


def test_each_command_is_here() -> None:
    assert set(WORDS) == set(COMMANDS)


@pytest.mark.parametrize("to", [">&-", ">/dev/full"])
@pytest.mark.parametrize("words", [words for words in WORDS.values() if words], ids=lambda words: words[0])
def test_it_is_said_in_a_line(words: list[str], to: str, recorded: Path, tmp_path: Path) -> None:
    words = [str(tmp_path) if word == "NEW" else word for word in words]
    ended = subprocess.run(
        ["sh", "-c", f"exec {shlex.join([*python(), '-m', 'kon', *words])} {to}"],
        cwd=recorded, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 2, ended
    assert "Traceback" not in ended.stderr
    assert "Exception ignored" not in ended.stderr
    assert "kon: standard output" in ended.stderr.splitlines()[-1]


@pytest.mark.parametrize("how", [(), ("--log-format", "json")], ids=["text", "json"])
@pytest.mark.parametrize("name", ["run", "plan", "submit", "prove", "init", "report", "map"])
def test_work_goes_on_where_stderr_is_full(
    name: str, how: tuple[str, ...], recorded: Path, tmp_path: Path
) -> None:
    words = [str(tmp_path) if word == "NEW" else word for word in WORDS[name] or ()]
    more = {"run": ["--out", str(tmp_path)], "submit": ["--out", str(tmp_path)], "map": ["--eta"]}.get(
        name, []
    )
    line = shlex.join([*python(), "-m", "kon", name, *how, *more, *words[1:]])
    ended = subprocess.run(
        ["sh", "-c", f"exec {line} 2>/dev/full"],
        cwd=recorded, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended
    assert ended.stdout or name == "init"
