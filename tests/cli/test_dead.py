"""`kon dead`: dead tasks, and messages that nobody could read."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from kon.cli import dead
from kon.core.journal import FileJournal
from kon.core.lock import client_lock
from kon.core.plugins import open_backend
from kon.core.queue import Message
from kon.core.spec import Plugin, RunSpec
from kon.core.task import Answers, Outcome, State, encode
from kon.engine.records.records import RunFolder, Unreadable, encode_unreadable, read_unreadable
from tests.cli.given import invoke, process, write

KILLS = """\
name: kills
backend: sqlite
workload: {kind: python, function: 'killing:run', items: [0, 1, 2]}
visibility_s: 0.5
max_receives: 2
prefetch: 0
strategies: [{name: lease, lease_s: 0.5}]
"""

RUN = "kills-lease-w1-r1"

SPEC = RunSpec(
    run="r",
    experiment="r",
    backend=Plugin("sqlite"),
    strategy=Plugin("lease"),
    kind=Plugin("sleep"),
    tasks=1,
    workers=1,
)

KILLING = """\
import os, signal, time
from pathlib import Path

def run(item):
    if item == 1 and not Path("mended").exists():
        time.sleep(0.5)  # what has ended is committed by then
        os.kill(os.getppid(), signal.SIGKILL)
        signal.pause()
    return item
"""


def test_a_message_is_kept_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "unreadable.jsonl"
    kept = [Unreadable("q", 1.5, b"\xff\x00", "why"), Unreadable("q", 2.5, b"text\nmore", "why")]
    file.write_bytes(b"".join(encode_unreadable(each) + b"\n" for each in kept))
    assert list(read_unreadable(file)) == kept


def test_dead_tasks_are_listed_and_run_again_and_messages_kept_and_dropped(tmp_path: Path) -> None:
    (tmp_path / "killing.py").write_text(KILLING)
    file = write(tmp_path, KILLS)
    env = {"PYTHONPATH": str(tmp_path)}
    assert process("submit", file, "--out", tmp_path / "results", cwd=tmp_path, env=env).returncode == 0
    folder = RunFolder(tmp_path / "results" / RUN)

    async def send() -> None:
        """Somebody else's message, in the queue of answers."""
        backend = open_backend(folder.read_run().spec.backend, folder.path.parent)
        channel = await backend.open(RUN)
        await channel.answers.send([Message(b"not kon's")])
        await channel.dead.send([Message(b"\xff neither")])
        await backend.close()

    asyncio.run(send())
    ended = process("collect", folder.path, "-q", cwd=tmp_path, env=env)
    assert ended.returncode == 1, ended.stderr
    states = {outcome.index: outcome.state for _, outcome in folder.outcomes()}
    assert states == {0: State.DONE, 1: State.DEAD, 2: State.DONE}

    listed = json.loads(invoke("dead", "list", folder.path, "--json").stdout)
    assert [each["index"] for each in listed["tasks"]] == [1]
    assert sorted(each["text"] for each in listed["messages"]) == ["not kon's", "\ufffd neither"]
    assert "received more than" in invoke("dead", "list", folder.path).stdout
    assert f"task: {RUN}/1" in invoke("dead", "show", folder.path, "1").stdout
    number = 1 + [each["text"] for each in listed["messages"]].index("not kon's")
    assert invoke("dead", "show", folder.path, f"m{number}").stdout_bytes == b"not kon's"

    assert invoke("dead", "drop", folder.path, f"m{number}").exit_code == 0
    assert [each.body for each in read_unreadable(folder.unreadable)] == [b"\xff neither"]
    assert invoke("dead", "drop", folder.path, "m1").exit_code == 0
    assert not folder.unreadable.exists()

    assert invoke("dead", "requeue", folder.path, "0").exit_code == 2
    assert invoke("dead", "requeue", folder.path, "1").exit_code == 0
    assert invoke("dead", "requeue", folder.path, "1").exit_code == 2, "it is not over now"
    (tmp_path / "mended").touch()
    ended = process("run", file, "--out", tmp_path / "results", "-q", cwd=tmp_path, env=env)
    assert ended.returncode == 0, ended.stderr
    assert {outcome.state for _, outcome in folder.outcomes()} == {State.DONE}


@pytest.mark.parametrize("act", ["requeue", "drop"])
def test_no_client_comes_between_a_look_at_a_run_and_its_change(
    act: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(tmp_path / "runs" / "r")
    folder.write_run(SPEC, {})
    journal = FileJournal(folder.results)
    journal.append([encode(Answers("client", [Outcome(0, 1, State.DEAD, error="why")]))])
    journal.close()
    folder.write_summary({"done": 0, "tasks": 1})
    folder.unreadable.write_bytes(encode_unreadable(Unreadable("q", 1.5, b"text", "why")) + b"\n")
    held: list[bool] = []

    def change(*_: object) -> None:
        held.append(client_lock(folder.path.parent).is_held())

    monkeypatch.setattr(dead, "run_again", change)
    monkeypatch.setattr(dead, "write_unreadable", change)
    ended = invoke("dead", act, folder.path, "0" if act == "requeue" else "m1")
    assert (ended.exit_code, held) == (0, [True]), ended.output
