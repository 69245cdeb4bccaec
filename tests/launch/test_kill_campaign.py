"""A kill campaign: SIGKILL of workers and clients over and over, counted by a checker that shares no code.

`make soak` kills a thousand times on SQLite, and as often on the backend aws, where an emulator stands
still as well. KILLS=... says otherwise; `make test` does it a few times.
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
from collections import Counter
from pathlib import Path

import pytest

from kon.backends.emulator import Emulator
from tests.launch import raw_records

CHECKER = Path(raw_records.__file__)

TASKS = 400

FILE = """\
name: killed
backend: {backend}
workload: {{kind: shell, command: 'sleep 0.02; echo {{}} >> {effects}', range: [0, {end}]}}
strategies: [{{name: lease, lease_s: {held_s}}}]
workers: [3]
visibility_s: {held_s}
max_receives: 1000
"""

HELD_S = {"sqlite": 1, "aws": 3}
"""How long a dead worker's tasks stay its own: longer where a call takes longer."""

RUN = "killed-lease-w3-r1"

STUCK_S = 300.0
"""A run in which no task ends for so long does not come to its end."""

AT_STARTS = 0.03
"""How often, of all looks, somebody is killed though no task has ended since the last kill. Once until one
has, or on a slow machine nobody would get anywhere."""

STILL_S = (0.5, 4.0)
"""How long an emulator stands still."""


def campaign(folder: Path, kills: int, rng: random.Random, emulator: Emulator | None = None) -> Counter[str]:
    """One run to its end, under so many kills at the most. How often each was killed.

    With an emulator the run is on the backend aws, and that server stands still now and then. It is not
    killed: it keeps queues in memory, so that it would come back without them, as Amazon does not.
    """
    effects = folder / "effects"
    effects.touch()
    backend = "sqlite" if emulator is None else "aws"
    text = FILE.format(backend=backend, held_s=HELD_S[backend], effects=effects, end=TASKS)
    (folder / "e.yml").write_text(text)
    command = [sys.executable, "-m", "kon", "run", "e.yml", "--out", str(folder / "out"), "-q"]
    killed = Counter[str]()
    size_bytes, grown_s, due = 0, time.monotonic(), 0
    said = (folder / "said").open("ab")
    client = subprocess.Popen(command, cwd=folder, stdout=said, stderr=said)
    try:
        while client.poll() is None:
            time.sleep(rng.uniform(0.05, 0.5))
            if effects.stat().st_size > size_bytes:
                size_bytes, grown_s, due = effects.stat().st_size, time.monotonic(), 2
            assert time.monotonic() < grown_s + STUCK_S, "the run does not come to its end"
            if killed.total() >= kills or not (due == 2 or (due == 1 and rng.random() < AT_STARTS)):
                continue
            due, drawn = due - 1, rng.random()
            if drawn < 0.2:
                client.kill()
                client.wait()
                killed["client"] += 1
                client = subprocess.Popen(command, cwd=folder, stdout=said, stderr=said)
            elif emulator is not None and drawn < 0.3:
                os.kill(emulator.pid, signal.SIGSTOP)
                time.sleep(rng.uniform(*STILL_S))
                os.kill(emulator.pid, signal.SIGCONT)
                killed["emulator"] += 1
            elif pids := workers(folder / "out" / RUN):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(rng.choice(pids), signal.SIGKILL)
                    killed["worker"] += 1
        assert client.returncode == 0, (folder / "said").read_text()
    finally:
        if emulator is not None:
            os.kill(emulator.pid, signal.SIGCONT)
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


def campaigns(folder: Path, rng: random.Random, emulator: Emulator | None = None) -> None:
    """Runs until as many were killed as KILLS says. It tells how many were, after each."""
    kills, killed, number = int(os.environ.get("KILLS", "1000")), Counter[str](), 0
    while killed.total() < kills:
        own = folder / str(number)
        own.mkdir()
        killed += campaign(own, min(kills - killed.total(), 60), rng, emulator)
        check(own)
        number += 1
        print(f"{number} runs of {TASKS} tasks came to their end: {dict(killed)}", flush=True)


@pytest.mark.long
def test_a_few_kills_lose_nothing_and_count_nothing_twice(tmp_path: Path) -> None:
    killed = campaign(tmp_path, 6, random.Random(1))
    assert killed.total() >= 1
    check(tmp_path)


@pytest.mark.slow
def test_a_thousand_kills_lose_nothing_and_count_nothing_twice(tmp_path: Path) -> None:
    campaigns(tmp_path, random.Random(2))


@pytest.mark.slow
def test_a_thousand_kills_at_amazon_lose_nothing_and_count_nothing_twice(
    on_ministack: Emulator, tmp_path: Path
) -> None:
    campaigns(tmp_path, random.Random(3), on_ministack)


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
