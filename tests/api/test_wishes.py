"""`max_cost` and `notify`: a run from Python keeps to its limit, and its end is told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import kon
from kon.backends.emulator import Emulator
from kon.engine.records.records import RunFolder
from kon.launch import budget
from tests.api.functions import double, fail_on_odd
from tests.emulators import Inbox
from tests.launch.stopping import WAITS, tell_when_stopped

HERE: dict[str, Any] = {"backend": "memory", "workers": 1}


def on_aws(prefix: str) -> dict[str, Any]:
    backend = {"name": "aws", "prefix": prefix, "depth_lag_s": 1}
    return {"backend": backend, "visibility_s": 3, "workers": 2}


@pytest.mark.long
def test_a_run_that_has_cost_too_much_is_paused_and_the_same_call_goes_on(
    tmp_path: Path, on_ministack: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "SPENDING_PAUSE_S", 0.5)
    monkeypatch.chdir(tmp_path)
    tell_when_stopped(tmp_path, monkeypatch)
    out, items = tmp_path / "out", range(60)
    with pytest.raises(kon.OverBudget, match=r"max_cost is .* the run test is paused") as stopped:
        kon.map(f"{WAITS}; : {{}}", items, out=out, max_cost=0.00006, **on_aws("api-map"))
    assert stopped.value.exit_code == 4
    run = kon.open_run(out)
    assert run.status().left > 0
    assert run.status().state == "left"
    with pytest.raises(kon.OverBudget, match=r"was spent before.*nothing was begun"):
        kon.map(f"{WAITS}; : {{}}", items, out=out, max_cost=0.00006, **on_aws("api-map"))
    with pytest.raises(kon.OverBudget, match="nothing was begun"):
        kon.gather(kon.open_run(out, max_cost="0.00006usd"))
    values = kon.map(f"{WAITS}; : {{}}", items, out=out, max_cost=1, **on_aws("api-map"))
    assert [value["exit"] for value in values] == [0] * 60


def test_the_end_of_a_run_is_told_once(tmp_path: Path, inbox: Inbox) -> None:
    for _ in range(2):
        assert kon.map(double, [1, 2], out=tmp_path / "out", notify=inbox.topic, **HERE) == [2, 4]
    [told] = inbox.read()
    assert told["Subject"] == "kon: double is done"
    assert f"report: kon report {tmp_path}/out/double\n" in told["Message"]


def test_a_run_that_did_not_do_all_is_told(tmp_path: Path, inbox: Inbox) -> None:
    run = kon.submit(fail_on_odd, [1, 2], out=tmp_path / "out", attempts=1, notify=inbox.topic, **HERE)
    kon.gather(run, return_exceptions=True)
    [told] = inbox.read()
    assert told["Subject"] == "kon: fail_on_odd has ended, not all is done"


PROGRAM = """
import kon
kon.submit("sleep {{}}", [0.3] * 6, workers=1, out={out!r}, notify={topic!r})
"""


@pytest.mark.long
def test_a_program_that_ends_before_its_run_says_so_and_who_takes_it_up_tells_of_its_end(
    tmp_path: Path, inbox: Inbox
) -> None:
    out = str(tmp_path / "out")
    program = PROGRAM.format(out=out, topic=inbox.topic)
    ended = subprocess.run([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")
    [told] = inbox.read()
    assert told["Subject"] == "kon: sleep was broken off"
    assert "error: its program has ended" in told["Message"]
    kon.gather(kon.open_run(out, notify=inbox.topic))
    [told] = inbox.read()
    assert told["Subject"] == "kon: sleep is done"


@pytest.mark.parametrize(
    ("wishes", "said"),
    [
        ({"max_cost": 1}, "nothing of this is paid for, as no backend is aws; leave it out"),
        ({"max_cost": 0}, "max_cost: expected more than 0"),
        ({"max_cost": "many"}, "max_cost: expected an amount in US dollars"),
        ({"notify": "me@example.org"}, "notify: expected the ARN of an SNS topic"),
        ({"notify": "fleet"}, "so that it has no fleet"),
    ],
)
def test_what_can_not_be_meant(tmp_path: Path, wishes: dict[str, Any], said: str) -> None:
    with pytest.raises(kon.ConfigurationError, match=r"^kon\.map: ") as refused:
        kon.map(double, [1], out=tmp_path / "out", **wishes, **HERE)
    assert said in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_what_is_not_kept_can_not_be_paused(tmp_path: Path) -> None:
    for wishes in ({"max_cost": 1.0}, {"notify": "fleet"}):
        with pytest.raises(kon.ConfigurationError, match="name a folder, out="):
            kon.map(double, [1], **wishes, **HERE)


def test_a_run_at_work_has_its_limits_already(tmp_path: Path, inbox: Inbox) -> None:
    out = tmp_path / "out"
    run = kon.submit("sleep {}", [30], out=out, **HERE)
    try:
        with pytest.raises(kon.ConfigurationError, match=r"at work on the run in .* already"):
            kon.submit("sleep {}", [30], out=out, notify=inbox.topic, **HERE)
        with pytest.raises(kon.ConfigurationError, match=r"at work on the run in .* already"):
            kon.open_run(RunFolder(run.path).path, notify=inbox.topic)
    finally:
        run.cancel()
