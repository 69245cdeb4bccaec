"""A disk that is full: a clear error, exit code 2, and nothing lost of what was recorded.

A limit on the size of files stands for it: that needs neither root nor a disk.
"""

from __future__ import annotations

import json
import resource
import subprocess
from pathlib import Path

import pytest

from tests.cli.given import KON, process, write

FILLING = """\
name: filling
workload: {kind: stats, count: 3000, length: 20}
strategies: [{name: lease, lease_s: 1, skew_s: 0.1}]
workers: [2]
visibility_s: 1
"""


def run_with_room_for(largest_bytes: int, *args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_bytes, largest_bytes))

    return subprocess.run(
        [*KON, *args], cwd=cwd, capture_output=True, text=True, timeout=60, preexec_fn=limit
    )


@pytest.mark.parametrize(
    ("backend", "largest_bytes"),
    [("memory", 100_000), ("sqlite", 600_000), ("sqlite", 1_000), ("sqlite", 0)],
    ids=["memory", "sqlite", "sqlite from the start", "no byte"],
)
def test_a_run_ends_with_one_error_and_goes_on_when_there_is_room(
    tmp_path: Path, backend: str, largest_bytes: int
) -> None:
    args = ["run", str(write(tmp_path, FILLING)), "--set", f"backend={backend}", "--json", "-q"]
    full = run_with_room_for(largest_bytes, *args, cwd=tmp_path)
    assert (full.returncode, full.stdout) == (2, "")
    [line] = full.stderr.splitlines()
    assert line.startswith("kon: ")
    assert "standard output" not in line
    assert "start again" in line or "run the same command again" in line

    done = process(*args, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    [row] = json.loads(done.stdout)["runs"]
    assert (row["done"], row["lost"]) == (3_000, 0)


@pytest.mark.parametrize("words", [["schema"], ["--help"], ["map", "--help"]])
def test_standard_output_on_a_full_disk_is_no_fault_of_kons(words: list[str], tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [*KON, *words], cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert ended.returncode == 2
    assert ended.stderr == "kon: standard output: can't be written: No space left on device\n"
