"""A kill campaign: SIGKILL of workers and clients over and over, counted by a checker that shares no code.

`make soak` kills a thousand times, KILLS=... says otherwise; `make test` does it a few times.
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.launch import raw_records

CHECKER = Path(raw_records.__file__)

TASKS = 400

FILE = """\
name: killed
backend: sqlite
workload: {{kind: shell, command: 'sleep 0.02; echo {{}} >> {effects}', range: [0, {end}]}}
strategies: [{{name: lease, lease_s: 0.6}}]
workers: [3]
visibility_s: 1
max_receives: 1000
"""

RUN = "killed-lease-w3-r1"


def campaign(folder: Path, kills: int, rng: random.Random) -> dict[str, int]:
    """One run to its end, under so many kills at the most. How often each was killed."""
    effects = folder / "effects"
    effects.touch()
    (folder / "e.yml").write_text(FILE.format(effects=effects, end=TASKS))
    command = [sys.executable, "-m", "kon", "run", "e.yml", "--out", str(folder / "out"), "-q"]
    killed = {"worker": 0, "client": 0}
    deadline_s = time.monotonic() + 300
    said = (folder / "said").open("ab")
    client = subprocess.Popen(command, cwd=folder, stdout=said, stderr=said)
    try:
        while client.poll() is None:
            assert time.monotonic() < deadline_s, "the run does not come to its end"
            time.sleep(rng.uniform(0.05, 0.5))
            if sum(killed.values()) >= kills:
                continue
            if rng.random() < 0.2:
                client.kill()
                client.wait()
                killed["client"] += 1
                client = subprocess.Popen(command, cwd=folder, stdout=said, stderr=said)
            elif pids := workers(folder / "out" / RUN):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(rng.choice(pids), signal.SIGKILL)
                    killed["worker"] += 1
        assert client.returncode == 0, (folder / "said").read_text()
    finally:
        said.close()
        client.kill()
        client.wait()
        for pid in workers(folder / "out" / RUN):
            os.kill(pid, signal.SIGKILL)
    return killed


def workers(run: Path) -> list[int]:
    """The worker processes of a run that live, by what the system says of them."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdecimal():
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if b"kon.launch.process" in words and os.fsencode(run) in words:
                    found.append(int(entry.name))
    return found


def check(folder: Path) -> None:
    words = [sys.executable, str(CHECKER), str(folder / "out" / RUN), str(folder / "effects"), str(TASKS)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_a_few_kills_lose_nothing_and_count_nothing_twice(tmp_path: Path) -> None:
    killed = campaign(tmp_path, 6, random.Random(1))
    assert sum(killed.values()) >= 1
    check(tmp_path)


@pytest.mark.slow
def test_a_thousand_kills_lose_nothing_and_count_nothing_twice(tmp_path: Path) -> None:
    left = int(os.environ.get("KILLS", "1000"))
    rng = random.Random(2)
    number = 0
    while left > 0:
        folder = tmp_path / str(number)
        folder.mkdir()
        killed = sum(campaign(folder, min(left, 60), rng).values())
        check(folder)
        left -= max(1, killed)
        number += 1


def test_the_checker_uses_nothing_of_kon() -> None:
    tree = ast.parse(CHECKER.read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import)]
    imported = {each.name for node in imports for each in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported <= {"__future__", "json", "sys", "collections", "pathlib"}


@pytest.mark.parametrize(
    ("packets", "effects", "said"),
    [
        ([["w", [[0, 1, "done"]]], ["w", [[0, 1, "done"]]]], "0", "recorded a second time"),
        ([["w", [[0, 1, "lost"]]]], "0", "task 0 is lost"),
        ([], "0", "task 0 is not recorded"),
        ([["w", [[0, 1, "done"]]]], "", "never ran to its end"),
        ([["w", [[0, 1, "done"], [1, 1, "done"]]]], "0 1", "was never submitted"),
    ],
)
def test_the_checker_sees_what_is_wrong(
    packets: list[object], effects: str, said: str, tmp_path: Path
) -> None:
    lines = [json.dumps(packet) for packet in packets]
    (tmp_path / "results.jsonl").write_text("\n".join([*lines, '["torn']))
    (tmp_path / "effects").write_text(effects)
    found, _ = raw_records.problems(tmp_path, tmp_path / "effects", 1)
    assert [each for each in found if said in each]
