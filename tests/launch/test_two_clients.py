"""Two clients of one run: whose store is shared, and whose folders are not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kon.engine.records.records import RunFolder

KON = [sys.executable, "-m", "kon"]
RUN = "two-lease-w1-r1"

EXPERIMENT = """\
name: two
workload: {kind: sleep, count: 100, seconds: 0.05}
backend: {name: sqlite, path: db}
strategies: [{name: lease, lease_s: 1}]
visibility_s: 1
"""


class Place:
    """A folder with an experiment whose database lies apart from its records."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "e.yml").write_text(EXPERIMENT)

    def run(self, out: str) -> subprocess.Popen[str]:
        words = [*KON, "run", "e.yml", "--out", out, "--json"]
        return subprocess.Popen(
            words, cwd=self.path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def folder(self, out: str) -> RunFolder:
        return RunFolder(self.path / out / RUN)

    def answered(self, out: str) -> bool:
        results = self.folder(out).results
        return results.exists() and results.stat().st_size > 0


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def wait(come: Callable[[], bool]) -> None:
    give_up_s = time.monotonic() + 60.0
    while not come():
        assert time.monotonic() < give_up_s
        time.sleep(0.02)


def test_the_second_client_is_refused_and_the_first_one_loses_nothing(place: Place) -> None:
    with place.run("A") as first:
        wait(lambda: place.answered("A"))
        with place.run("B") as second:
            _, said = second.communicate(timeout=60)
        assert second.returncode == 2
        assert f"has a client already: process {first.pid} on {os.uname().nodename}, since 20" in said
        assert "nothing was queued" in said
        first.communicate(timeout=60)
    row = place.folder("A").read_summary()
    assert (first.returncode, row["done"], row["lost"]) == (0, 100, 0)


def test_a_run_that_another_folder_knows_is_not_begun_again(place: Place) -> None:
    with place.run("A") as first:
        wait(lambda: place.answered("A"))
        first.kill()
        first.communicate()
    with place.run("B") as second:
        _, said = second.communicate(timeout=60)
    assert second.returncode == 2
    assert "100 tasks queued" in said
    assert "knows nothing of it" in said
    with place.run("A") as again:
        again.communicate(timeout=60)
    row = place.folder("A").read_summary()
    assert (again.returncode, row["done"], row["lost"]) == (0, 100, 0)


def test_a_client_that_is_interrupted_leaves_the_run_to_the_next_at_once(place: Place) -> None:
    with place.run("A") as first:
        wait(lambda: place.answered("A"))
        first.send_signal(signal.SIGTERM)
        first.communicate(timeout=60)
    with place.run("A") as second:
        _, said = second.communicate(timeout=60)
    assert (second.returncode, place.folder("A").read_summary()["done"]) == (0, 100)
    assert "may still be at work" not in said, "it did not wait for the lease of the first one"
