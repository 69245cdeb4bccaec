"""Runs whose client was killed as it queued tasks: the rest is queued from the file they came from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kon.core.errors import StoreError
from kon.engine.records.records import RunFolder
from kon.engine.sizing import Sizing
from kon.experiment import Workload
from tests.cli.given import files_in, invoke, process, rows, write

HALF = """\
name: half
workload: {kind: shell, command: 'cat {}', glob: 'inputs/*'}
bundle: 1
"""

RUN = "half-lease-w1-r1"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run of 30 tasks, 20 of them queued; the client ended then."""
    (tmp_path / "lab" / "inputs").mkdir(parents=True)
    for number in range(30):
        (tmp_path / "lab" / "inputs" / f"{number:02}").write_text(f"{number} ")
    whole = Workload.bodies

    def cut_short(self: Workload, workers: int) -> Iterator[Any]:
        for number, body in enumerate(whole(self, workers)):
            if number == 20:
                raise StoreError("killed")
            yield body

    monkeypatch.chdir(tmp_path / "lab")
    write(tmp_path / "lab", HALF)
    with monkeypatch.context() as patch:
        patch.setattr(Sizing, "span", lambda sizing, left, size: min(left, 10))
        patch.setattr(Workload, "bodies", cut_short)
        assert "killed" in invoke("submit", "exp.yml").stderr
    assert rows(invoke("status", "--json"))[0]["queued"] == 20
    return RunFolder(tmp_path / "lab" / "results" / "half" / RUN)


def test_collect_queues_what_is_left_in_whatever_folder_it_is_called(
    tmp_path: Path, folder: RunFolder
) -> None:
    (tmp_path / "elsewhere").mkdir()
    done = process("collect", folder.path, "--json", cwd=tmp_path / "elsewhere")
    assert done.returncode == 0, done.stderr
    [row] = json.loads(done.stdout)["runs"]
    assert (row["done"], row["duplicate_deliveries"], row["duplicate_starts"]) == (30, 0, 0)
    printed = process("results", folder.path, "--stdout", cwd=tmp_path)
    assert printed.stdout.split() == [str(number) for number in range(30)]
    assert not files_in(tmp_path / "elsewhere")


def test_a_file_that_has_changed_since_is_not_used(folder: RunFolder) -> None:
    write(Path(), HALF.replace("bundle: 1", "bundle: 2"))
    refused = invoke("collect", RUN)
    assert refused.exit_code == 2
    assert "20 of its 30 tasks are queued, and" in refused.stderr
    assert "has changed since" in refused.stderr
    assert rows(invoke("status", "--json"))[0]["queued"] == 20, "nothing was lost of what was queued"


def test_a_run_that_comes_from_no_file_says_so(folder: RunFolder) -> None:
    run = folder.read_run()
    folder.write_run(run.spec, {})
    refused = invoke("collect", RUN)
    assert refused.exit_code == 2
    assert "its records do not say where the others come from" in refused.stderr


def test_what_is_cancelled_is_not_queued_any_more(folder: RunFolder) -> None:
    assert invoke("cancel", RUN).exit_code == 0
    [row] = rows(invoke("collect", RUN, "--json"))
    assert (row["cancelled"], row["done"]) == (30, 0)


def test_a_folder_that_is_gone_is_named(
    tmp_path: Path, folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = tmp_path / "moved"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lab").rename(moved)
    refused = invoke("collect", moved / "results" / "half" / RUN)
    assert refused.exit_code == 2
    assert f"was begun in {tmp_path / 'lab'}" in refused.stderr
