"""`--notify`: one message when a run ends, and no run fails of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from botocore.client import BaseClient

from kon.core.spec import Plugin, RunSpec
from kon.launch.notice import Notices
from tests.cli.given import invoke
from tests.emulators import Inbox

WHOLE = "name: told\nbackend: memory\nworkload: {kind: sleep, count: 3, seconds: 0}\nworkers: [1, 2]\n"
FAILS = "name: told\nbackend: memory\nworkload: {kind: shell, items: ['true', 'exit 3']}\nattempts: 1\n"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(text: str, *options: str) -> Any:
    Path("exp.yml").write_text(text)
    return invoke("run", "exp.yml", "-q", *options)


def test_one_message_for_each_run(inbox: Inbox) -> None:
    assert run(WHOLE, "--notify", inbox.topic).exit_code == 0
    told = inbox.read()
    assert sorted(each["Subject"] for each in told) == [
        f"kon: told-lease-w{workers}-r1 is done" for workers in (1, 2)
    ]
    lines = dict(line.split(": ", 1) for line in told[0]["Message"].splitlines())
    assert (lines["state"], lines["tasks"], lines["done"]) == ("done", "3", "3")
    assert lines["report"] == f"kon report {Path('results/told/told-lease-w1-r1').absolute()}"
    assert run(WHOLE, "--notify", inbox.topic).exit_code == 0
    assert inbox.read() == [], "what is recorded has been told"


def test_a_fleets_topic_is_of_the_callers_partition(monkeypatch: pytest.MonkeyPatch) -> None:
    """China and GovCloud have others than `aws`."""
    asked: list[str] = []

    def in_china(self: Any, operation: str, given: dict[str, Any]) -> Any:
        if operation == "GetCallerIdentity":
            return {"Account": "1", "Arn": "arn:aws-cn:iam::1:user/me"}
        asked.append(given["TopicArn"])

    monkeypatch.setattr(BaseClient, "_make_api_call", in_china)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "nobodys")
    backend = Plugin("aws", {"prefix": "konf-r1", "region": "cn-north-1"})
    spec = RunSpec("r", "e", backend, Plugin("lease"), Plugin("sleep"), 1)
    Notices("fleet", [spec], print).ended({"run": "r", "tasks": 1, "done": 1, "wall_s": 1.0}, Path())
    assert asked == ["arn:aws-cn:sns:cn-north-1:1:konf-r1"]


def test_nobody_is_told_who_did_not_ask(inbox: Inbox) -> None:
    assert run(WHOLE).exit_code == 0
    assert inbox.read() == []


def test_what_failed_is_told(inbox: Inbox) -> None:
    assert run(FAILS, "--notify", inbox.topic).exit_code == 1
    [told] = inbox.read()
    assert told["Subject"] == "kon: told-lease-w1-r1 has ended, not all is done"
    assert "done: 1\nfailed: 1\n" in told["Message"]


def test_a_run_that_is_broken_off_is_told(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    from kon.core.errors import BackendUnavailable
    from kon.launch.local import LocalRun

    async def away(self: LocalRun) -> None:
        self.folder.write_run(self.spec, {})
        raise BackendUnavailable("SQS does not answer")

    monkeypatch.setattr(LocalRun, "run", away)
    assert run(WHOLE, "--notify", inbox.topic).exit_code == 3
    assert run(FAILS.replace("told", "alone"), "--notify", inbox.topic).exit_code == 3
    told = inbox.read()
    assert sorted(each["Subject"] for each in told) == [
        f"kon: {name}-r1 was broken off" for name in ("alone-lease-w1", "told-lease-w1", "told-lease-w2")
    ]
    assert all("error: SQS does not answer" in each["Message"] for each in told)


def test_a_run_that_is_collected_is_told(inbox: Inbox) -> None:
    Path("exp.yml").write_text(FAILS.replace("memory", "sqlite"))
    assert invoke("submit", "exp.yml", "-q").exit_code == 0
    assert invoke("collect", "told-lease-w1-r1", "-q", "--notify", inbox.topic).exit_code == 1
    [told] = inbox.read()
    assert told["Subject"] == "kon: told-lease-w1-r1 has ended, not all is done"
    assert invoke("collect", "told-lease-w1-r1", "-q", "--notify", inbox.topic).exit_code == 1
    assert inbox.read() == [], "what is recorded has been told"


def test_a_run_that_is_broken_off_as_it_is_collected_is_told(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kon.core.errors import BackendUnavailable
    from kon.launch.local import LocalRun

    async def away(self: LocalRun) -> None:
        raise BackendUnavailable("SQS does not answer")

    Path("exp.yml").write_text(WHOLE.replace("memory", "sqlite").replace("[1, 2]", "1"))
    assert invoke("submit", "exp.yml", "-q").exit_code == 0
    monkeypatch.setattr(LocalRun, "run", away)
    assert invoke("collect", "told-lease-w1-r1", "-q", "--notify", inbox.topic).exit_code == 3
    [told] = inbox.read()
    assert told["Subject"] == "kon: told-lease-w1-r1 was broken off"
    assert "tasks: 3\naccounted: 0\n" in told["Message"]


def test_a_topic_that_is_not_there_fails_no_run_and_is_said(inbox: Inbox) -> None:
    ended = run(WHOLE, "--notify", f"{inbox.topic}-no")
    assert ended.exit_code == 0
    assert "nobody was told that told-lease-w1-r1 has ended: SNS: " in ended.stderr
    assert "the run itself is as it is" in ended.stderr


def test_the_fleets_own_topic(inbox: Inbox) -> None:
    prefix = inbox.topic.rpartition(":")[2]
    # moto fails at batches of statements
    backend = f"backend: {{name: aws, prefix: {prefix}, depth_lag_s: 1, claims: single, client: boto3}}"
    text = WHOLE.replace("backend: memory", backend).replace("[1, 2]", "1")
    ended = run(text, "--notify", "fleet")
    assert ended.exit_code == 0, ended.output
    [told] = inbox.read()
    assert "usd: 0.0" in told["Message"]


@pytest.mark.parametrize(
    ("topic", "said"),
    [("me@example.org", "expected the ARN of an SNS topic"), ("fleet", "so that it has no fleet")],
)
def test_what_is_no_topic_is_refused_before_anything_runs(topic: str, said: str) -> None:
    refused = run(WHOLE, "--notify", topic)
    assert (refused.exit_code, said in refused.stderr) == (2, True)
    assert not Path("results").exists()
