"""Ctrl-C in the midst of each playbook: it ends, nothing of it runs on, and one teardown leaves nothing."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from kon.backends.emulator import Emulator
from tests.lab import servers
from tests.playbooks.test_provision import Fleet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

END_S: Final = 60.0
"""How long a play may take to end, on a busy machine. A person presses Ctrl-C again before that."""

STEPS: Final[dict[str, tuple[bool, str, dict[str, Any]]]] = {
    "validate": (False, "Look at the account", {}),
    "provision": (False, "Make what runs of the experiment need", {}),
    "configure": (True, "Wait until it answers, and see what it has", {"up_s": 300}),
    "run": (True, "Look at it", {}),
    "fetch": (True, ".*", {}),
    "bake": (True, "Look at it", {"up_s": 300}),
    "scale": (True, "End them", {"workers": 1}),
    "site": (False, "Make all else", {}),
    "sweep": (True, "Look for what is there", {}),
    "teardown": (True, "Remove it", {}),
}
"""For each playbook: whether there is a fleet before, the task in which Ctrl-C comes, and variables."""


@pytest.fixture
def fleet(tmp_path: Path, ministack: Emulator) -> Iterator[Fleet]:
    with servers.moto("127.0.0.1", 0, tmp_path / "moto.log") as url:
        yield Fleet(tmp_path, servers.variables(url, ministack.endpoint))


@pytest.mark.parametrize("times", [1, 2], ids=["once", "twice"])
@pytest.mark.parametrize("playbook", STEPS)
def test_an_interrupted_playbook_leaves_nothing(
    fleet: Fleet, tmp_path: Path, playbook: str, times: int
) -> None:
    is_there, task, variables = STEPS[playbook]
    if is_there:
        made = fleet.operator.play("provision")
        assert made.exit_code == 0, made.output
    log = tmp_path / "log"
    with fleet.operator.begin(playbook, log, **variables) as play:
        header = re.compile(rf"(?m)^TASK \[(.* : )?{task}\]")
        _wait(lambda: header.search(log.read_text()) or play.poll() is not None, 120.0)
        time.sleep(1.0)  # in its midst
        assert play.poll() is None, log.read_text()
        for _ in range(times):
            os.killpg(play.pid, signal.SIGINT)
            time.sleep(0.2)
        try:
            _wait(lambda: play.poll() is not None, END_S)
        finally:
            if play.poll() is None:
                play.kill()
    assert play.returncode in ((99,) if times == 1 else (99, -signal.SIGINT)), log.read_text()
    _wait(lambda: not _running(tmp_path), END_S)
    gone = fleet.operator.play("teardown")
    assert gone.exit_code == 0, gone.output
    assert fleet.left() == []


def _running(folder: Path) -> list[str]:
    """What has this folder in its command line, as every process of a play has, but for the connections that
    are kept for the next one."""
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = each.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in words and "[mux]" not in words and "moto" not in words:
            found.append(words)
    return found


def _wait(come: Callable[[], object], most_s: float) -> None:
    end_s = time.monotonic() + most_s
    while not come():
        assert time.monotonic() < end_s
        time.sleep(0.1)
