"""submit, worker, collect, cancel and status: a run in pieces."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cli.given import KON, files_in, invoke, process, rows, write

QUEUED = """\
name: queued
workload: {kind: sleep, count: 50, seconds: 0.001}
"""

RUN = "queued-lease-w1-r1"


def status() -> dict[str, Any]:
    """Of the one run there is."""
    [line] = rows(invoke("status", "--json"))
    return line


def test_a_run_in_pieces(tmp_path: Path) -> None:
    submitted = invoke("submit", write(tmp_path, QUEUED))
    assert (submitted.exit_code, submitted.stdout) == (0, f"{RUN}\n")
    assert f"kon worker results/queued/{RUN}" in submitted.stderr
    assert f"kon collect results/queued/{RUN}" in submitted.stderr
    assert status()["state"] == "stopped"
    before = status()
    assert (before["submitted"], before["left"], before["workers"]) == (50, 50, 0)
    assert 1 <= before["queued"] <= 50
    assert invoke("submit", write(tmp_path, QUEUED)).exit_code == 0
    assert status() == before, "submitting it again queues nothing twice"

    worker = process("worker", RUN, "--idle", "0.2", cwd=tmp_path)
    assert worker.returncode == 0, worker.stderr
    assert "at work with w1" in worker.stderr
    assert status()["queued"] == 0

    collected = invoke("collect", RUN, "--no-workers", "--json")
    assert collected.exit_code == 0, collected.stderr
    [row] = rows(collected)
    assert (row["done"], row["worker_lives"], row["duplicate_starts"]) == (50, 1, 0)
    assert status()["state"] == "finished"
    assert rows(invoke("collect", RUN, "--json")) == [row], "what is recorded is shown again"
    over = invoke("worker", RUN)
    assert (over.exit_code, over.stderr) == (0, f"{RUN} is over; there is nothing to do\n")


def test_collect_starts_the_workers_that_are_missing(tmp_path: Path) -> None:
    invoke("submit", write(tmp_path, QUEUED), "--json")
    done = process("collect", RUN, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["runs"][0]["worker_lives"] == 1


def test_what_is_cancelled_is_accounted_for_and_no_worker_is_started(tmp_path: Path) -> None:
    invoke("submit", write(tmp_path, QUEUED))
    cancelled = invoke("cancel", RUN)
    assert cancelled.exit_code == 0
    assert "kon collect" in cancelled.stderr
    assert status()["state"] == "cancelled"
    collected = invoke("collect", RUN, "--json")
    assert collected.exit_code == 1
    [row] = rows(collected)
    assert (row["cancelled"], row["done"], row["worker_lives"]) == (50, 0, 0)
    again = invoke("cancel", RUN)
    assert again.exit_code == 2
    assert "is over already" in again.stderr


def test_a_client_at_work_hears_that_its_run_is_cancelled(tmp_path: Path) -> None:
    text = QUEUED.replace("0.001", "30").replace("queued", "slow") + "drain_s: 0\n"
    run = tmp_path / "results" / "slow" / "slow-lease-w1-r1"
    command = [*KON, "run", str(write(tmp_path, text)), "--json"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        while not any('"start"' in file.read_text() for file in run.glob("events/w1*")):
            assert running.poll() is None
            time.sleep(0.02)
        assert rows(invoke("status", "--json"))[0]["state"] == "running"
        cancelled = invoke("cancel", "slow-lease-w1-r1")
        assert "its client accounts for the rest" in cancelled.stderr
        stdout, _ = running.communicate(timeout=20)
    assert running.returncode == 1
    assert json.loads(stdout)["runs"][0]["cancelled"] == 50


def test_a_worker_drains_on_sigterm_and_gives_back_the_rest(tmp_path: Path) -> None:
    invoke("submit", write(tmp_path, QUEUED.replace("0.001", "0.05")))
    events = tmp_path / "results" / "queued" / RUN / "events"
    command = [*KON, "worker", RUN, "--name", "mine", "-n", "2"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as running:
        while not all('"keep"' in "".join(f.read_text() for f in events.glob(f"mine{n}.*")) for n in (1, 2)):
            assert running.poll() is None
            time.sleep(0.02)
        running.send_signal(signal.SIGTERM)
        _, stderr = running.communicate(timeout=20)
    assert running.returncode == 0
    assert "draining" in stderr
    assert status()["in_flight"] == 0
    assert 0 < status()["queued"] < 50


def test_another_worker_takes_another_name(tmp_path: Path) -> None:
    invoke("submit", write(tmp_path, QUEUED))
    done = process("worker", RUN, "-n", "3", "--idle", "0", cwd=tmp_path)
    assert "at work with w1, w2, w3" in done.stderr


@pytest.mark.parametrize("command", ["submit", "run"])
def test_a_second_client_of_a_folder_is_refused(tmp_path: Path, command: str) -> None:
    text = QUEUED.replace("0.001", "0.1")
    with subprocess.Popen([*KON, "run", str(write(tmp_path, text))], cwd=tmp_path) as running:
        try:
            while not (tmp_path / "results" / "queued" / RUN / "events" / "client.jsonl").exists():
                assert running.poll() is None
                time.sleep(0.02)
            refused = invoke(command, tmp_path / "exp.yml")
            assert refused.exit_code == 2
            assert f"client at work already (process {running.pid})" in refused.stderr
        finally:
            invoke("cancel", RUN)


def test_the_memory_of_this_process_is_no_place_to_submit_to(tmp_path: Path) -> None:
    refused = invoke("submit", write(tmp_path, QUEUED), "--set", "backend=memory")
    assert refused.exit_code == 2
    assert "use sqlite" in refused.stderr


def test_a_name_that_nothing_goes_by(tmp_path: Path) -> None:
    invoke("submit", write(tmp_path, QUEUED))
    for command in ("collect", "cancel", "worker", "results", "status"):
        refused = invoke(command, "queued-laese-w1-r1")
        assert refused.exit_code == 2
        assert f'did you mean "{RUN}"?' in refused.stderr


def test_status_of_nothing(tmp_path: Path) -> None:
    result = invoke("status")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "no runs below results\n")
    assert files_in(tmp_path) == set()


def test_status_is_a_table(tmp_path: Path) -> None:
    invoke("submit", write(tmp_path, QUEUED))
    messages = status()["queued"]
    header, _, line = invoke("status").stdout.splitlines()
    assert header.split()[:2] == ["run", "state"]
    assert line.split() == [RUN, "stopped", "50", "0", "0", "0", "0", "50", "50", str(messages), "0", "0"]


def test_status_shows_what_is_recorded_where_the_queues_are_gone(tmp_path: Path) -> None:
    invoke("submit", write(tmp_path, QUEUED))
    for file in (tmp_path / "results" / "queued" / RUN).glob("kon.db*"):
        file.unlink()
    result = invoke("status", "--json")
    assert result.exit_code == 0
    assert rows(result)[0]["queued"] is None
    assert "kon.db" in result.stderr
