"""`kon emulator` and `kon run --emulator`."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
import pytest

from kon.backends.emulator import KINDS
from kon.backends.emulator.strict.faults import Fault
from kon.cli import emulator as module
from kon.core.task import State
from kon.engine.records.records import RunFolder
from tests.cli.given import KON, invoke, process, rows, write

ROOT: Final = Path(__file__).parents[2]

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


PLACES: Final = {
    "queues are made": Fault("sqs:CreateQueue", "interrupted", nth=2),
    "the table is made": Fault("dynamodb:CreateTable", "interrupted"),
    "tasks are sent": Fault("sqs:SendMessageBatch", "interrupted"),
    "half is answered": Fault("sqs:DeleteMessageBatch", "interrupted", nth=2),
    "it is cleared away": Fault("sqs:DeleteQueue", "interrupted"),
}
"""Where Ctrl-C comes: at a call, which goes on."""

MARKS: Final = {"tasks are sent": [], "it is cleared away": [pytest.mark.long]}

INTERRUPTED: Final = """\
import msgspec, os, sys
from kon.backends.emulator.strict.faults import Fault
from kon.cli import emulator
from kon.cli.program import main

fault = msgspec.structs.replace(msgspec.json.decode(sys.argv.pop(1), type=Fault), pid=os.getpid())
emulator._STRICT = msgspec.structs.replace(emulator._STRICT, fault=fault)
main()
"""


def quickstart(path: Path) -> tuple[Path, int]:
    """The quickstart's first experiment, with fewer files and workers, and how many tasks it has."""
    text = (ROOT / "workloads/quickstart.yml").read_text().split("\n---\n")[1]
    files = "strategies/*.py"
    assert "../kon/**/*.py, ../strategies/*.py" in text
    text = text.replace("../kon/**/*.py, ../strategies/*.py", str(ROOT / files))
    text = text.replace("workers: [4]", "workers: [1]")
    return write(path, text, "quickstart.yml"), len(list(ROOT.glob(files)))


@pytest.mark.parametrize(
    "place", [pytest.param(each, marks=MARKS.get(each, [pytest.mark.slow])) for each in PLACES]
)
def test_a_run_that_is_interrupted_anywhere_is_taken_up_on_a_new_emulator(place: str, tmp_path: Path) -> None:
    file, tasks = quickstart(tmp_path)
    out = tmp_path / "out"
    words = ["run", str(file), "--set", "backend=aws", "--emulator", "--out", str(out), "--json"]
    fault = msgspec.json.encode(PLACES[place]).decode()
    command = [sys.executable, "-c", INTERRUPTED, fault, *words]
    first = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert first.returncode == 130, first.stderr
    assert "Traceback" not in first.stderr
    assert "--emulator" in first.stderr  # in the command that goes on
    running = subprocess.run(["ps", "-A", "-ww", "-o", "args"], capture_output=True, text=True, check=True)
    assert [line for line in running.stdout.splitlines() if str(out) in line] == []
    again = process(*words, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    [row] = json.loads(again.stdout)["runs"]
    assert (row["done"], row["tasks"], row["failed"], row["dead"], row["lost"]) == (tasks, tasks, 0, 0, 0)
    folder = RunFolder(out / row["run"])
    assert not folder.owes_deletion
    assert {outcome.index for _, outcome in folder.outcomes() if outcome.state is State.DONE} == {
        *range(tasks)
    }
