"""A run of a fleet, taken up at a machine that has nothing of it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import chdir
from pathlib import Path

import pytest
from click.testing import Result

from kon.backends.emulator import Emulator
from kon.engine.records.records import RunFolder
from tests.cli.given import invoke

pytestmark = pytest.mark.timeout(300)

TASKS = 80
EXPERIMENT = f"name: far\nworkload: {{kind: sleep, count: {TASKS}, seconds: 0.1}}\nvisibility_s: 4\n"
BACKEND = (
    *("backend.name=aws", "backend.prefix=konf-adopt", "backend.region=us-east-1"),
    "backend.depth_lag_s=1",  # so long it may be empty before the table is asked for the rest
)
KON = Path(sys.executable).with_name("kon")


def kon(*words: str, folder: Path) -> Result:
    with chdir(folder):
        return invoke(*words)


@pytest.mark.long
def test_a_run_is_collected_at_a_machine_without_records_of_it(
    on_ministack: Emulator, tmp_path: Path
) -> None:
    first, second, host = (tmp_path / name for name in ("first", "second", "host"))
    for each in (first, second, host):
        each.mkdir()
    (first / "far.yml").write_text(EXPERIMENT)
    words = [word for each in BACKEND for word in ("--set", each)]
    plan = kon("run", "far.yml", *words, "--dry-run", "--json", folder=first)
    (host / "plan.json").write_text(plan.stdout)
    client = subprocess.Popen([KON, "run", "far.yml", *words, "--join", "--apart"], cwd=first)
    working = subprocess.Popen([KON, "join", "plan.json", "--number", "1", "--out", "records"], cwd=host)
    try:
        here = RunFolder(first / "results/far-aws/far-lease-w1-r1")
        while not (here.results.exists() and here.results.stat().st_size):
            assert client.poll() is None
            time.sleep(0.05)
        client.kill()
        client.wait()
        before = sum(1 for _ in here.outcomes())
        assert 0 < before < TASKS

        wrong = kon("collect", "far-lease-w1-r2", "--fleet", "adopt", folder=second)
        assert (wrong.exit_code, 'did you mean "far-lease-w1-r1"' in wrong.stderr) == (2, True), wrong.stderr
        none = kon("collect", "far-lease-w1-r1", folder=second)
        assert none.exit_code == 2, "without the fleet's name it is looked for here"
        got = kon("collect", "far-lease-w1-r1", "--fleet", "adopt", "--json", folder=second)
    finally:
        for process in (client, working):
            process.terminate()
            process.wait()
    assert got.exit_code == 0, got.stderr
    assert "was begun at another machine" in got.stderr
    [row] = json.loads(got.stdout)["runs"]
    assert (row["tasks"], row["done"], row["lost"]) == (TASKS, TASKS, 0), "those that were answered there too"
    assert RunFolder(second / "results/far-aws/far-lease-w1-r1").finished
    assert kon("down", "far.yml", *words, "--force", folder=first).exit_code == 0
