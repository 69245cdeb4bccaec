"""`kon runs`, `kon rm` and `kon clean`: nothing goes that is not finished, not kon's own, or not meant."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import kon as kon_module
from kon.cli import removal
from kon.cli.group import kon
from kon.core.errors import StoreError
from kon.core.lock import client_lock
from kon.engine.records.records import RunFolder
from kon.launch import removal as removal_of_runs

EXPERIMENT = "name: x\nbackend: memory\nworkload: {kind: sleep, count: 2, seconds: 0}\nrepeats: 2\n"


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(kon, [str(each) for each in arguments], prog_name="kon")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two finished runs below `results`; the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.yml").write_text(EXPERIMENT)
    assert invoke("run", "x.yml", "--quiet").exit_code == 0
    return tmp_path / "results" / "x"


def runs(place: Path) -> set[str]:
    return {each.name for each in place.iterdir() if RunFolder(each).exists}


BOTH = {"x-lease-w1-r1", "x-lease-w1-r2"}


def test_runs_are_listed_with_size_and_age(place: Path) -> None:
    folder = place / "x-lease-w1-r1"
    (folder / "objects").mkdir()
    (folder / "objects" / "video.mp4").write_bytes(b"x" * 2_000_000)
    os.utime(folder / "summary.json", (time.time() - 5 * 86_400,) * 2)
    lines = invoke("runs").stdout.splitlines()
    assert lines[2].split() == ["results/x/x-lease-w1-r1", "finished", "2.01", "MB", "1", "5", "d"]
    assert lines[-1].startswith("2 runs, 2.0")
    first, second = json.loads(invoke("runs", "--json").stdout)["runs"]
    assert first["size_bytes"] - second["size_bytes"] == pytest.approx(2_000_000, abs=200)
    assert (first["objects"], second["objects"], first["finished"]) == (1, 0, True)


def test_what_goes_is_named_as_it_is_typed_here(place: Path) -> None:
    shown = invoke("rm", place.absolute() / "x-lease-w1-r1", "--dry-run").stdout
    assert "\nresults/x/x-lease-w1-r1 " in shown


def test_the_command_that_ends_a_run_can_be_pasted(place: Path) -> None:
    folder = place.rename(place.with_name("an x")) / "x-lease-w1-r1"
    (folder / "summary.json").unlink()
    refused = invoke("rm", folder, "--yes")
    assert f"(kon collect '{folder.absolute()}')" in refused.stderr


def test_one_run_that_stays_is_one_problem(place: Path) -> None:
    (place / "x-lease-w1-r1" / "summary.json").unlink()
    refused = invoke("rm", place / "x-lease-w1-r1", "--yes")
    assert refused.exit_code == 2
    [line] = refused.stderr.splitlines()
    assert line.startswith("kon: ")
    assert line.endswith("; nothing was removed")


def test_a_run_is_removed_by_its_name(place: Path) -> None:
    ended = invoke("rm", "x-lease-w1-r1", "--yes")
    assert ended.exit_code == 0, ended.output
    assert not (place / "x-lease-w1-r1").exists()
    assert runs(place) == BOTH - {"x-lease-w1-r1"}


@pytest.mark.parametrize("arguments", [["--dry-run"], [], ["--dry-run", "--yes"]])
def test_nothing_is_removed_unless_that_is_said(place: Path, arguments: list[str]) -> None:
    for command in (["rm", "x-lease-w1-r1"], ["clean", "--older", "0h"]):
        ended = invoke(*command, *arguments)
        assert "nothing was removed" in ended.stderr
        assert ended.exit_code == (0 if arguments else 2)
    assert runs(place) == BOTH


def refused(place: Path, words: str, *more: str) -> None:
    """One of two runs may not go: then `rm` removes neither, and `clean` leaves that one and says why."""
    ended = invoke("rm", *sorted(BOTH), "--yes", *more)
    assert ended.exit_code == 2
    assert words in ended.stderr
    assert runs(place) == BOTH
    cleaned = invoke("clean", "--older", "0h", "--yes", *more)
    assert cleaned.exit_code == 0
    assert "left: " in cleaned.stderr
    assert words in cleaned.stderr
    assert runs(place) == {"x-lease-w1-r1"}


def test_a_run_that_is_not_finished_stays(place: Path) -> None:
    (place / "x-lease-w1-r1" / "summary.json").unlink()
    refused(place, "x-lease-w1-r1: is not finished. Take it up (kon collect ")


def test_what_is_not_kons_own_stays(place: Path) -> None:
    (place / "x-lease-w1-r1" / "notes.txt").touch()
    refused(place, "holds what is not kon's: notes.txt. Move it elsewhere first", "--with-objects")


def test_what_tasks_have_stored_stays_unless_it_is_meant(place: Path) -> None:
    (place / "x-lease-w1-r1" / "objects").mkdir()
    (place / "x-lease-w1-r1" / "objects" / "video.mp4").touch()
    refused(place, "or name --with-objects to remove it, too")
    assert invoke("rm", "x-lease-w1-r1", "--yes", "--with-objects").exit_code == 0
    assert runs(place) == set()


def of_map(place: Path) -> Path:
    long = "python3 -c 'print(\"x\" * 9_000_000)'"
    command = [sys.executable, "-m", "kon", "map", "--out", "maps", "--line-buffer", f"{long} # {{}}", "a"]
    subprocess.run(command, cwd=place, check=True, stdout=subprocess.DEVNULL)
    [folder] = (each.parent for each in place.glob("maps/*/run.json"))
    return folder


def of_an_executor(place: Path) -> Path:
    with kon_module.Executor(1, out=place / "calls") as executor:
        assert executor.submit(lambda text: len(text), "x" * 300_000).result() == 300_000
    return place / "calls" / "executor"


def of_links(place: Path) -> Path:
    """A reader has asked what a task has written, and was killed."""
    (place / "links.py").write_text("def link(item):\n    return {'url': f'file:///videos/{item}'}\n")
    (place / "links.yml").write_text(
        "name: links\nbackend: sqlite\nworkload: {kind: python, function: 'links.py:link', items: [1]}\n"
    )
    ended = invoke("run", "links.yml", "--quiet")
    assert ended.exit_code == 0, ended.output
    folder = place / "results" / "links" / "links-lease-w1-r1"
    (folder / "peek").mkdir()
    assert (folder / "links.tsv").exists()
    return folder


@pytest.mark.parametrize("made", [of_map, of_an_executor, of_links])
def test_whatever_kon_has_written_goes(
    made: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = made(tmp_path)
    assert {each.name for each in folder.iterdir()} <= removal_of_runs.OURS
    if RunFolder(folder).finished:  # which an executor's run never is
        ended = invoke("rm", folder, "--yes", "--with-objects")
        assert (ended.exit_code, folder.exists()) == (0, False), ended.output


def test_a_run_whose_queues_may_still_be_there_stays(place: Path) -> None:
    RunFolder(place / "x-lease-w1-r1").owe_deletion()
    refused(place, "its queues and tables may still be there; kon collect ")


def test_a_link_to_a_run_stays(place: Path) -> None:
    (place / "x-lease-w1-r1").rename(place.parents[1] / "elsewhere")
    (place / "x-lease-w1-r1").symlink_to(place.parents[1] / "elsewhere")
    refused(place, "is a link to a folder, not a folder")


def test_a_name_that_may_mean_two_runs_removes_neither(place: Path) -> None:
    shutil.copytree(place / "x-lease-w1-r1", "x-lease-w1-r1")
    ended = invoke("rm", "x-lease-w1-r1", "--yes")
    assert ended.exit_code == 2
    assert "may mean more than one run; name one by its whole path: " in ended.stderr
    assert runs(place) == BOTH
    assert runs(Path()) == {"x-lease-w1-r1"}


def test_nothing_goes_while_a_client_works_next_to_it(place: Path) -> None:
    async def while_held() -> Result:
        async with client_lock(place):
            return await asyncio.to_thread(invoke, "rm", "x-lease-w1-r1", "--yes")

    ended = asyncio.run(while_held())
    assert ended.exit_code == 2
    assert "has a client at work already" in ended.stderr
    assert runs(place) == BOTH


@pytest.mark.parametrize("command", [["rm", *sorted(BOTH)], ["clean", "--older", "0h"]])
def test_a_run_that_can_not_be_removed_keeps_no_other_from_it(
    place: Path, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = vars(removal)["remove"]

    async def remove(folder: RunFolder, with_objects: bool) -> None:
        if folder.path.name == "x-lease-w1-r1":
            raise StoreError(f"{folder.path}: can't be removed wholly")
        await real(folder, with_objects)

    monkeypatch.setattr(removal, "remove", remove)
    ended = invoke(*command, "--yes")
    assert ended.exit_code == 2
    assert "kon: results/x/x-lease-w1-r1: can't be removed wholly" in ended.stderr.replace(
        f"{place.parents[1]}/", ""
    )
    assert runs(place) == {"x-lease-w1-r1"}


def test_only_old_runs_are_cleaned(place: Path) -> None:
    os.utime(place / "x-lease-w1-r2" / "summary.json", (time.time() - 31 * 86_400,) * 2)
    assert invoke("clean", "--older", "30d", "--yes").exit_code == 0
    assert runs(place) == {"x-lease-w1-r1"}
    assert (
        "no finished run below results is older than 4w" in invoke("clean", "--older", "4w", "--yes").stderr
    )


@pytest.mark.parametrize("age", ["30", "d", "-1d", "1.5d", "30 d", "1m"])
def test_an_age_without_its_unit_is_refused(place: Path, age: str) -> None:
    ended = invoke("clean", "--older", age, "--yes")
    assert ended.exit_code == 2
    assert "such as 30d, found " in ended.stderr
    assert runs(place) == BOTH
