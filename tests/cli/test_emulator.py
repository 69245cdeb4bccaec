"""`kon emulator` and `kon run --emulator`."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kon.backends.emulator import KINDS
from kon.cli import emulator as module
from tests.cli.given import KON, invoke, rows, write

LIST_QUEUES = "import boto3; print(boto3.client('sqs').list_queues()['ResponseMetadata']['HTTPStatusCode'])"


@contextmanager
def running(*args: str) -> Iterator[subprocess.Popen[str]]:
    command = [*KON, "emulator", *args]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
        try:
            yield started
        finally:
            started.kill()


@pytest.mark.parametrize("kind", KINDS)
def test_what_it_prints_leads_a_shell_to_it(kind: str) -> None:
    stray = {"AWS_PROFILE": "work", "AWS_SESSION_TOKEN": "real", "PYTHON": sys.executable}
    with running("--kind", kind) as server:
        assert server.stdout is not None
        assert server.stderr is not None
        lines = iter(server.stdout.readline, "")
        printed = ""
        for line in lines:
            printed += line
            if line.startswith("unset "):
                break
        script = f'{printed}\n"$PYTHON" -c "{LIST_QUEUES}"'
        done = subprocess.run(
            ["sh", "-c", script], env={**os.environ, **stray}, capture_output=True, text=True, check=True
        )
        assert done.stdout == "200\n"
        assert "for trials only" in server.stderr.readline()
        server.send_signal(signal.SIGINT)
        assert server.wait(timeout=30) == 0


def test_json_and_the_end_of_the_server(tmp_path: Path) -> None:
    with running("--json") as command:
        assert command.stdout is not None
        assert command.stderr is not None
        text = ""
        while not text.endswith("}\n") or text.count("{") != text.count("}"):
            text += command.stdout.readline()
        told = json.loads(text)
        assert told["kind"] == "ministack"
        assert told["environment"]["AWS_ENDPOINT_URL"] == told["endpoint"]
        assert "AWS_PROFILE" in told["unset"]
        os.kill(told["pid"], signal.SIGKILL)
        assert command.wait(timeout=30) == 3
        assert "kon: the emulator ministack has ended by itself" in command.stderr.read()


def test_it_is_refused_where_nothing_would_use_it(tmp_path: Path) -> None:
    result = invoke("run", write(tmp_path), "--emulator")
    assert result.exit_code == 2
    assert "--set backend=aws" in result.stderr
    assert not (tmp_path / "results" / "sleeps" / "sleeps-lease-w1-r1").exists()


def test_hosts_would_not_find_it(tmp_path: Path) -> None:
    result = invoke("run", write(tmp_path), "--emulator", "--join")
    assert result.exit_code == 2
    assert "`kon emulator`" in result.stderr


def test_workers_are_led_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AWS", "sqlite")
    monkeypatch.setenv("AWS_PROFILE", "work")
    text = (
        "name: env\nworkload: {kind: shell, command: 'echo $AWS_ENDPOINT_URL:$AWS_PROFILE:{}', items: [1]}\n"
    )
    result = invoke("run", write(tmp_path, text), "--emulator", "--json")
    assert [row["done"] for row in rows(result)] == [1]
    assert Path("results/env-emulator").is_dir(), "not taken for a run of Amazon's later"
    said = invoke("results", rows(result)[0]["run"], "--json").stdout
    assert re.search(r"http://127\.0\.0\.1:\d+::1\b", said), said
    assert os.environ["AWS_PROFILE"] == "work"


def test_an_interrupted_run_ends_with_its_emulator_and_is_taken_up_on_a_new_one(tmp_path: Path) -> None:
    text = "name: long\nbackend: aws\nworkload: {kind: sleep, count: 300, seconds: 0.02}\nworkers: [2]\n"
    command = [
        *KON,
        "run",
        str(write(tmp_path, text)),
        "--emulator",
        "--out",
        str(tmp_path / "out"),
        "--json",
    ]
    results = tmp_path / "out" / "long-lease-w2-r1" / "results.jsonl"
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as first:
        give_up_s = time.monotonic() + 60
        while not (results.exists() and results.stat().st_size):
            assert time.monotonic() < give_up_s, "it does not begin"
            assert first.poll() is None
            time.sleep(0.02)
        first.send_signal(signal.SIGINT)
        _, said = first.communicate(timeout=60)
    assert first.returncode == 130
    assert "the emulator ends with this command, and no worker goes on without it" in said
    assert "--emulator" in said  # in the command that goes on
    running = subprocess.run(["ps", "-A", "-ww", "-o", "args"], capture_output=True, text=True, check=True)
    assert [line for line in running.stdout.splitlines() if str(results.parent) in line] == []
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    [row] = json.loads(done.stdout)["runs"]
    assert row["done"] == row["tasks"] == 300
