"""A run that is over, and whose clean-up meets a fault: its results stand, and whoever repeats the command
goes on with the clean-up alone. Exit code 0 says that nothing is left."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kon.backends.emulator import Emulator
from kon.backends.emulator.strict.faults import Fault
from kon.backends.sqlite import SqliteBackend
from kon.cli import collect
from kon.core.errors import BackendUnavailable
from kon.core.lock import client_lock
from kon.engine.records.records import RunFolder
from tests.cli.given import invoke, rows
from tests.emulators import STRICT, queues_of, tables_of

FILE = """\
name: left
workload: {{kind: sleep, count: 3, seconds: 0}}
strategies: [lease]
workers: [1]
repeats: 2
visibility_s: 3
backend: {{name: aws, prefix: {prefix}, depth_lag_s: 0.2}}
"""


@pytest.fixture
def prefix(on_ministack: Emulator) -> str:
    return f"t{secrets.token_hex(4)}"


@pytest.mark.parametrize(
    "call", ["sqs:DeleteQueue", pytest.param("dynamodb:DeleteTable", marks=pytest.mark.long)]
)
def test_what_can_not_be_deleted_is_told_and_deleted_by_the_same_command(
    tmp_path: Path, prefix: str, on_ministack: Emulator, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("left.yml").write_text(FILE.format(prefix=prefix))
    denied = msgspec.structs.replace(STRICT, fault=Fault(call, "denied", times=0))
    on_ministack.set_strict(denied)
    try:
        result = invoke("run", "left.yml", "--out", "out", "-q")
        assert result.exit_code == 5, result.output
        assert "is over and recorded, but not all of it is deleted" in result.stderr
        assert "median of 2 runs" in result.stdout, "the second run is run all the same"
        assert "Traceback" not in result.output
        again = invoke("run", "left.yml", "--out", "out", "-q")
        assert again.exit_code == 5
        collected = invoke("collect", "out/left-lease-w1-r1")
        assert collected.exit_code == 5, collected.output
    finally:
        on_ministack.set_strict(STRICT)
    left: list[Any] = queues_of(f"{prefix}-") + tables_of(f"{prefix}-")
    assert left
    last = invoke("run", "left.yml", "--out", "out", "-q")
    assert last.exit_code == 0, last.output
    assert queues_of(f"{prefix}-") == tables_of(f"{prefix}-") == []
    assert not RunFolder(Path("out/left-lease-w1-r1")).owes_deletion


def test_what_is_owed_is_settled_once_or_twice(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "r")
    folder.owe_deletion()
    assert folder.owes_deletion
    folder.settle_deletion()
    folder.settle_deletion()
    assert not folder.owes_deletion


FAILS = """\
name: again
backend: {{name: sqlite}}
workload: {{kind: shell, command: 'test {{}} = 1 || test -e {mended}', items: [1, 2]}}
workers: [1]
attempts: 1
"""


def test_failed_tasks_are_run_again_though_the_queues_of_the_first_time_are_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    mended = tmp_path / "mended"
    Path("again.yml").write_text(FAILS.format(mended=mended))

    async def fails(*_: object, **__: object) -> None:
        raise BackendUnavailable("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(SqliteBackend, "delete", fails)
        first = invoke("run", "again.yml", "--out", "out", "-q")
        assert first.exit_code == 5, first.output
    folder = RunFolder(Path("out/again-lease-w1-r1"))
    assert folder.owes_deletion
    mended.touch()
    again = invoke("run", "again.yml", "--out", "out", "--rerun-failed", "--json")
    assert again.exit_code == 0, again.output
    [row] = rows(again)
    assert (row["done"], row["lost"]) == (2, 0)
    assert not folder.owes_deletion


def owing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A recorded run whose queues are still to be deleted."""
    monkeypatch.chdir(tmp_path)
    Path("again.yml").write_text(FAILS.format(mended=tmp_path / "mended"))
    assert invoke("run", "again.yml", "--out", "out", "-q").exit_code == 1
    folder = RunFolder(Path("out/again-lease-w1-r1"))
    folder.owe_deletion()
    return folder


def test_a_run_that_somebody_opens_again_meanwhile_keeps_its_queues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`kon collect` deletes only what is still over, under the lock of the runs."""
    folder = owing(tmp_path, monkeypatch)
    held: list[bool] = []

    async def noted(_: RunFolder) -> None:
        held.append(client_lock(folder.path.parent).is_held())

    monkeypatch.setattr(collect, "clear_away", noted)
    monkeypatch.setattr(collect, "print_result", lambda *_: folder.reopen())
    invoke("collect", folder.path)
    assert held == [], "it is open again"
    folder.write_summary({"experiment": "again", "done": 1, "tasks": 2})
    monkeypatch.setattr(collect, "print_result", lambda *_: None)
    invoke("collect", folder.path)
    assert held == [True]


def test_what_a_client_at_work_keeps_from_being_deleted_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = owing(tmp_path, monkeypatch)
    lock = client_lock(folder.path.parent)
    asyncio.run(lock.__aenter__())
    collected = invoke("collect", folder.path)
    asyncio.run(lock.__aexit__(None, None, None))
    assert collected.exit_code == 5, collected.output
    assert "its queues and tables are still there" in collected.stderr
    assert folder.owes_deletion
