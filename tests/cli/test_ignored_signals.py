"""What is started by `nohup`, or from a script with `&`, outlives its terminal."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path
from typing import Final

import pytest

import kon.cli
from kon.engine.records.records import RunFolder
from tests.cli.given import KON, write
from tests.cli.test_interrupts import GATED, RUN
from tests.cli.test_serve import body, moving

IGNORING: Final = ["sh", "-c", "trap '' HUP INT; exec \"$@\"", "sh", *KON]


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_a_run_goes_on(tmp_path: Path, number: signal.Signals) -> None:
    file = write(tmp_path, GATED.format(gate=tmp_path, items=["a", "b"]))
    command = [*IGNORING, "run", str(file), "--out", str(tmp_path / "out")]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as running:
        give_up_s = time.monotonic() + 60
        while not any(line["e"] == "start" for _, line in RunFolder(tmp_path / RUN).event_lines()):
            assert time.monotonic() < give_up_s
            time.sleep(0.05)
        running.send_signal(number)
        (tmp_path / "all").touch()
        _, said = running.communicate(timeout=60)
    assert running.returncode == 0, said
    assert "interrupted" not in said


def test_a_server_goes_on_until_it_is_ended(tmp_path: Path) -> None:
    moving(tmp_path)
    command = [*IGNORING, "serve", "r"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as running:
        assert running.stdout is not None
        link = running.stdout.readline().partition("?")[0].strip()
        running.send_signal(signal.SIGHUP)
        running.send_signal(signal.SIGINT)
        assert "live.js" in body(link)
        running.terminate()
        assert running.wait(60) == 0


def test_each_command_asks_what_is_ignored() -> None:
    """`ending_signals` does, and `kon map`, which changes no handler but the default one."""
    folder = Path(kon.cli.__file__).parent
    naming = {file.name for file in folder.glob("*.py") if "SIGHUP" in file.read_text(encoding="utf-8")}
    assert naming == {"interrupts.py", "map_run.py"}
