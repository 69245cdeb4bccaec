"""playbooks/run.yml on this machine: what it runs, what it repeats, what it says when things go wrong."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kon.core.lock import client_lock, host_lock
from kon.core.spec import Plugin, RunSpec
from kon.engine.records.records import RunFolder
from tests.playbooks import plays
from tests.playbooks.plays import PROJECT, Ansible, usual_environment

PLAYBOOK = "playbooks/run.yml"

TINY = """\
name: tiny
workload: {kind: sleep, count: 20, seconds: 0.005, per: worker}
workers: [1, 2]
"""
MIXED = """\
name: right
workload:
  kind: shell
  glob: data/*
  command: printf '%s %s\\n' "$( (sha256sum {} || shasum -a 256 {}) | cut -c1-64)" {}
---
name: wrong
workload:
  kind: shell
  glob: data/one
  command: printf '%s %s\\n' 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef {}
---
name: failing
workload: {kind: shell, items: [a, b, c], command: "test {} != b"}
attempts: 1
---
name: losing
workload: {kind: sleep, count: 30, seconds: 0.01}
strategies: [conditional_put]
visibility_s: 0.5
faults: {kill_workers: 1}
"""
LONG = """\
name: long
workload: {kind: sleep, count: 10, seconds: 600}
workers: 2
visibility_s: 1
drain_s: 0
"""


SPEC = RunSpec(
    run="old",
    experiment="old",
    backend=Plugin("sqlite"),
    strategy=Plugin("lease"),
    kind=Plugin("sleep"),
    tasks=1,
    workers=1,
)


class Play(plays.Play):
    """What a run of the playbook said, and with which exit code it ended."""

    def tables(self) -> str:
        """What was shown between the last play's headline and the recap."""
        return (
            self.output.partition("PLAY [Check and show")[2]
            .partition("\n")[2]
            .partition("PLAY RECAP")[0]
            .strip()
        )


class Place:
    """A folder, with a space in its name, that holds an experiment and its records."""

    def __init__(self, path: Path, text: str, ansible: Ansible) -> None:
        self._ansible = ansible
        self.path = path / "a folder"
        self.path.mkdir()
        self.file = self.path / "experiment.yml"
        self.out = self.path / "its records"
        self.file.write_text(text)

    def command(self, *options: str) -> list[str]:
        ansible = Path(sys.executable).with_name("ansible-playbook")
        chosen = json.dumps({"experiment": str(self.file), "out": str(self.out)})
        return [str(ansible), "-i", "inventory/local.yml", PLAYBOOK, "--extra-vars", chosen, *options]

    def environment(self) -> dict[str, str]:
        # async jobs can't be started from a path with a space; see the Makefile
        home = self.path.parent / "ansible"
        return {
            **usual_environment(home),
            "ANSIBLE_ASYNC_DIR": str(home / "async"),
            "ANSIBLE_REMOTE_TMP": str(home / "tmp"),
            "ANSIBLE_DISPLAY_OK_HOSTS": "false",  # as in `make run`
            "ANSIBLE_DISPLAY_SKIPPED_HOSTS": "false",
        }

    def play(self, *options: str) -> Play:
        return Play(*self._ansible.play(self.command(*options)[1:], self.environment()))

    def folder(self, run: str) -> RunFolder:
        return RunFolder(self.out / run)

    def nobody_is_left(self) -> bool:
        """Whether client, hosts and all workers that ever were have ended."""
        locks = [client_lock(self.out), *(host_lock(self.out, number) for number in range(1, 5))]
        return not any(lock.is_held() for lock in locks) and not any(map(_is_alive, self.pids()))

    def pids(self) -> Iterator[int]:
        for file in self.out.glob("*/run.json"):
            for _, line in RunFolder(file.parent).event_lines():
                if "pid" in line:
                    yield line["pid"]


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def tiny(tmp_path: Path, ansible: Ansible) -> Place:
    return Place(tmp_path, TINY, ansible)


def test_its_syntax_is_right(tiny: Place) -> None:
    assert tiny.play("--syntax-check").exit_code == 0


def test_check_mode_says_what_would_be_run_and_runs_nothing(tiny: Place) -> None:
    play = tiny.play("--check", "--extra-vars", "fresh=true")
    assert (play.exit_code, play.count("failed"), play.count("changed")) == (0, 0, 0), play.output
    assert "would run tiny-lease-w1-r1, tiny-lease-w2-r1" in _joined(play)
    assert not tiny.out.exists()


def test_what_is_recorded_is_not_run_again_unless_asked(tiny: Place) -> None:
    first = tiny.play()
    assert first.exit_code == 0, first.output
    assert [tiny.folder(f"tiny-lease-w{n}-r1").finished for n in (1, 2)] == [True, True]
    assert first.count("changed") == 3, "the client and two hosts"
    assert first.tables().startswith("tiny: 20 x sleep for each worker on sqlite")
    assert len(re.findall(r"(?m)^lease +[12] ", first.tables())) == 2
    assert tiny.nobody_is_left()

    second = tiny.play()
    assert (second.exit_code, second.count("changed")) == (0, 0), second.output
    assert "2 runs are recorded already, and not repeated" in second.output
    assert "To run it anew: make run ARGS='-e fresh=true'" in second.output
    assert second.tables().partition("\n\nAll of this")[0] in first.tables()


@pytest.mark.slow
def test_what_is_run_anew_leaves_its_records_aside(tiny: Place) -> None:
    assert tiny.play().exit_code == 0
    third = tiny.play("--extra-vars", "fresh=true", "--extra-vars", "set=workers=1")
    assert (third.exit_code, tiny.folder("tiny-lease-w2-r1").exists) == (0, False), third.output
    [aside] = (tiny.path / "earlier").iterdir()
    assert RunFolder(aside / "tiny-lease-w2-r1").finished


@pytest.mark.long
def test_what_is_no_record_stays_where_it_is(tiny: Place) -> None:
    tiny.out.mkdir()
    (tiny.out / "thesis.txt").write_text("mine")
    for options in (["--check"], []):
        play = tiny.play("--extra-vars", "fresh=true", *options)
        assert play.exit_code == 2, play.output
        assert 'it holds "thesis.txt", which is not a run of kon\'s. Nothing was moved' in " ".join(
            play.output.replace("''", "'").split()
        )
    assert [each.name for each in tiny.out.iterdir()] == ["thesis.txt"]


@pytest.mark.long
def test_a_link_to_a_folder_of_records_is_put_aside_as_a_link(tiny: Place, tmp_path: Path) -> None:
    """Its records stay on their disk. Moved from under it, they would leave a link to nothing, at which no
    folder can be made."""
    large = tmp_path / "large disk"
    large.mkdir()
    RunFolder(large / "old").write_run(SPEC, {})
    tiny.out.symlink_to(large)
    play = tiny.play("--extra-vars", "fresh=true", "--extra-vars", "set=workers=1")
    assert play.exit_code == 0, play.output
    assert RunFolder(large / "old").exists
    [aside] = (tiny.path / "earlier").iterdir()
    assert aside.resolve() == large.resolve()
    assert tiny.folder("tiny-lease-w1-r1").finished


def test_records_of_a_client_at_work_are_not_put_aside(tiny: Place) -> None:
    async def while_at_work() -> list[Play]:
        async with client_lock(tiny.out):
            return [tiny.play("--extra-vars", "fresh=true", *options) for options in (["--check"], [])]

    for play in asyncio.run(while_at_work()):
        assert play.exit_code == 2, play.output
        assert "has a client at work" in play.said
        assert "Nothing was moved" in play.said
    assert tiny.out.exists()


@pytest.mark.timeout(400)
@pytest.mark.long
def test_what_is_not_as_it_should_be_is_shown_and_fails_the_play(tmp_path: Path, ansible: Ansible) -> None:
    place = Place(tmp_path, MIXED, ansible)
    (place.path / "data").mkdir()
    for name in ("one", "it's two"):
        (place.path / "data" / name).write_text(name)
    play = place.play()
    assert play.exit_code == 2
    assert place.nobody_is_left()
    shown, said = play.tables(), _joined(play)
    assert re.search(r"failing-lease-w1-r1 +3 +2 +1 +0 +0 ", shown), "the tables are shown all the same"
    assert "2 files have the SHA-256 that was recorded for them." in shown
    lost = place.folder("losing-conditional_put-w1-r1").read_summary()["lost"]
    assert lost > 0
    assert f"{lost} tasks were lost by strategies that may lose some: docs/strategies.md." in shown
    assert "Not every task was done; the columns failed, dead and lost say how many." in said
    assert "failing-lease-w1-r1 --failed" in said
    assert re.search(r"data/one: it does not have the SHA-256 that was recorded", said)

    lenient = '{"set": ["failing:workload.items=[a]", "failing:name=passing"]}'
    play = place.play("--extra-vars", lenient)
    assert play.exit_code == 0, f"a loss of a strategy that may lose is no failure: {play.output}"
    strict = place.play("--extra-vars", lenient, "--extra-vars", '{"may_lose": []}')
    assert strict.exit_code == 2
    assert "losing-conditional_put-w1-r1 --failed" in _joined(strict)


def test_an_experiment_that_is_wrong_stops_the_play_before_anything_is_started(
    tmp_path: Path, ansible: Ansible
) -> None:
    place = Place(tmp_path, TINY.replace("workers", "wokers"), ansible)
    play = place.play()
    assert play.exit_code == 2
    assert 'experiment.yml:3:1: unknown key "wokers", did you mean "workers"?' in _joined(play)
    assert not place.out.exists()


def test_too_few_play_hosts_stop_the_play_before_anything_is_started(tiny: Place) -> None:
    play = tiny.play("--extra-vars", "set=workers=5")
    assert play.exit_code == 2
    assert "a run with 5 workers, and the inventory has 4 play hosts" in _joined(play)
    assert not tiny.out.exists()


@pytest.mark.timeout(300)
@pytest.mark.long
def test_an_interrupted_play_leaves_nobody_behind(tmp_path: Path, ansible: Ansible) -> None:
    place = Place(tmp_path, LONG, ansible)
    with subprocess.Popen(
        place.command(),
        cwd=PROJECT,
        env=place.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as play:
        try:
            _wait(lambda: len(set(place.pids())) == 3)  # of the client and both workers
            assert not place.nobody_is_left()
        finally:
            code = _interrupted(play)
        assert code != 0
    _wait(place.nobody_is_left, 60.0)


def _interrupted(play: subprocess.Popen[bytes]) -> int:
    """Its exit code after Ctrl-C, which a terminal sends to the whole group, and after a second one where
    nothing has come of the first for long: Python ignores what is raised in a hook after a fork, and Ansible
    forks for each host of a task."""
    for _ in range(2):
        os.killpg(play.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return play.wait(60.0)
    play.kill()
    pytest.fail("the play does not end")


def _wait(come: Callable[[], bool], most_s: float = 120.0) -> None:
    """On a busy machine Ansible needs a minute to start its hosts."""
    end_s = time.monotonic() + most_s
    while not come():
        assert time.monotonic() < end_s
        time.sleep(0.05)


def _joined(play: Play) -> str:
    """The output without Ansible's line breaks in long texts."""
    return " ".join(play.output.split())
