"""`kon restore`, and `kon results --links` and `--objects`: results that keep, on MiniStack."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
import urllib.request
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from kon.backends.aws import AwsBackend
from kon.backends.aws.calls import Calls
from kon.backends.emulator import Emulator
from kon.cli.links import link_lines
from kon.core.spec import Plugin, RunSpec
from kon.core.task import Answers, Outcome, State, encode
from kon.engine.records.records import RunFolder
from kon.fleet.restore import restore
from kon.report.read.reader import standing
from tests.cli.given import invoke

_prefixes = (f"keep{number}" for number in itertools.count(1))


class Run:
    """A recorded run that is over, with three objects of which one may be cold."""

    def __init__(self, folder: Path, backend: Plugin | None = None) -> None:
        self.prefix = next(_prefixes)
        self.backend = backend or Plugin("aws", {"prefix": self.prefix})
        self.folder = RunFolder(folder / "results" / "r")
        spec = RunSpec("r", "x", self.backend, Plugin("lease"), Plugin("sleep"), tasks=3)
        self.folder.write_run(spec, {})
        self.given = folder / "given"
        self.given.write_bytes(b"pixels")

    def store(self, cold: int = 0) -> list[str]:
        """Their links; the first so many objects are cold."""
        return asyncio.run(self._store(cold))

    async def _store(self, cold: int) -> list[str]:
        calls, backend = Calls(), AwsBackend(self.backend.options)
        account = (await calls.call("sts", "GetCallerIdentity"))["Account"]
        bucket = f"{self.prefix}-{account}-us-east-1"
        await calls.call("s3", "CreateBucket", Bucket=bucket)
        objects, _ = await backend.stored("r")
        urls = []
        for number in range(3):
            await objects.put(f"{number}.png", self.given)
            urls.append(await objects.url(f"{number}.png", 60.0))
            if number < cold:
                key = f"r/objects/{number}.png"
                await calls.call("s3", "PutObject", Bucket=bucket, Key=key, Body=b"x", StorageClass="GLACIER")
        await backend.close()
        await calls.close()
        return urls

    def record(self, urls: list[str], ended_s: float) -> None:
        results = [{"key": f"{n}.png", "url": url, "url_expires_s": 60.0} for n, url in enumerate(urls)]
        outcomes = [Outcome(n, 1, State.DONE, each, None, ended_s, ended_s) for n, each in enumerate(results)]
        self.folder.results.write_bytes(encode(Answers("w1.1", outcomes)) + b"\n")

    def links(self, later_s: float = 0.0) -> list[list[str]]:
        found = standing(self.folder, 3)
        return [line.split("\t") for line in link_lines(self.folder, found, lambda: time.time() + later_s)]


@pytest.fixture
def run(tmp_path: Path, on_ministack: Emulator, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    return Run(tmp_path)


@pytest.mark.long
def test_the_state_of_each_object_and_asking_it_back(run: Run) -> None:
    run.record(run.store(cold=2), time.time())
    before = [line.split("\t") for line in invoke("results", "r", "--objects").stdout.splitlines()]
    assert before == [
        ["0.png", "1", "GLACIER", "cold"],
        ["1.png", "1", "GLACIER", "cold"],
        ["2.png", "6", "STANDARD", "here"],
    ]
    asked = invoke("restore", "r", "--no-wait", "--json")
    assert json.loads(asked.stdout)["objects"] == {"coming back": 2, "here": 1}
    coming = invoke("results", "r", "--objects").stdout
    assert coming.count("\tcoming back") == 2
    waited = invoke("restore", "r", "--days", "3")
    assert waited.exit_code == 0, waited.output
    assert waited.stderr.splitlines()[-1] == "1 here, 2 here until"
    after = invoke("results", "r", "--objects").stdout.splitlines()
    assert [line.split("\t")[3][:10] for line in after] == ["here until", "here until", "here"]
    again = invoke("restore", "r")
    assert (again.exit_code, again.stderr.splitlines()) == (0, ["1 here, 2 here until"])


@pytest.mark.long
def test_it_looks_less_and_less_often(run: Run) -> None:
    run.record(run.store(cold=1), time.time())
    looks_s: list[float] = []

    async def sleep(seconds: float) -> None:
        looks_s.append(seconds)
        await asyncio.sleep(0.5)

    asyncio.run(restore(run.folder, 1, "Bulk", sleep=sleep))
    assert looks_s[:3] == [2.0, 4.0, 8.0]


def test_a_link_that_has_expired_is_made_anew(run: Run) -> None:
    run.record(run.store(), time.time())
    recorded = run.links()
    fresh = run.links(later_s=3_600.0)
    assert [line[0] for line in fresh] == [line[0] for line in recorded] == ["r/0", "r/1", "r/2"]
    for before, after in zip(recorded, fresh, strict=True):
        assert len(after) == 3
        with urllib.request.urlopen(after[1]) as reply:
            assert reply.read() == b"pixels"
        assert before[1].partition("?")[0] == after[1].partition("?")[0]


def test_the_link_to_a_poster_is_made_anew_too(run: Run) -> None:
    video, poster, _ = run.store()
    result = {"key": "0.png", "url": video, "poster_url": poster, "url_expires_s": 60.0}
    ended_s = time.time()
    outcome = Outcome(0, 1, State.DONE, result, None, ended_s, ended_s)
    run.folder.results.write_bytes(encode(Answers("w1.1", [outcome])) + b"\n")
    recorded = run.links()
    time.sleep(1.1)  # a signature has whole seconds
    fresh = run.links(later_s=3_600.0)
    assert [line[1] for line in recorded] == [video, poster]
    for before, after, name in zip(recorded, fresh, ([], ["poster"]), strict=True):
        assert (after[0], after[3:]) == ("r/0", name)
        assert after[1].partition("?")[0] == before[1].partition("?")[0]
        assert after[1] != before[1]
        with urllib.request.urlopen(after[1]) as reply:
            assert reply.read() == b"pixels"


def test_where_no_link_can_be_made_it_says_since_when_and_why(run: Run) -> None:
    run.record(run.store(cold=1), time.time())
    bucket = run.links()[1][1].partition("://")[2].split("/")[1]

    async def remove() -> None:
        calls = Calls()
        await calls.call("s3", "DeleteObject", Bucket=bucket, Key="r/objects/1.png")
        await calls.close()

    asyncio.run(remove())
    cold, gone, fresh = run.links(later_s=3_600.0)
    assert cold[2].startswith("expired since 20")
    assert cold[2].endswith("the object is cold: kon restore r")
    assert gone[2].endswith("the object is gone")
    assert not fresh[2].startswith("expired")


def test_where_amazon_does_not_answer_the_old_links_stand(
    tmp_path: Path, on_ministack: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path)
    run.record(run.store(), time.time())
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("kon.backends.aws.clients.ATTEMPTS", 1)
    for line in run.links(later_s=3_600.0):
        assert line[2].startswith("expired since 20")


def test_links_of_other_stores_are_told_of(run: Run) -> None:
    urls = run.store()
    elsewhere = urls[0].replace(run.prefix, "another")
    run.record([elsewhere, "file:///x/1.png", "https://example.org/2.png"], time.time() - 3_600.0)
    signed, local, plain = run.links(later_s=3_600.0)
    assert signed[2].endswith("it is not a link to this run's store")
    assert local == ["r/1", "file:///x/1.png"]
    assert plain[2].endswith("it is not a link to this run's store")


def test_a_run_that_is_not_at_amazon_has_nothing_cold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = Run(tmp_path, Plugin("sqlite"))
    run.record(["https://example.org/a?b"] * 3, 1e9)
    for command in (["restore", "r"], ["results", "r", "--objects"]):
        refused = invoke(*command)
        assert (refused.exit_code, "has no cold storage" in refused.stderr) == (2, True)
    assert [line[2] for line in run.links()] == [
        "expired since 2001-09-09 01:47:40+00:00: the backend sqlite makes no other"
    ] * 3


def test_in_a_store_that_runs_share_its_own_objects_are_meant(run: Run) -> None:
    urls = run.store(cold=3)
    bucket = urls[0].partition("://")[2].split("/")[1]
    shared: Any = Plugin("aws", {"prefix": run.prefix, "objects": f"s3://{bucket}/r/objects"})
    run.folder.write_run(RunSpec("r", "x", shared, Plugin("lease"), Plugin("sleep"), tasks=3), {})
    run.record(urls[:1], time.time())
    assert invoke("results", "r", "--objects").stdout == "0.png\t1\tGLACIER\tcold\n"
    asked = invoke("restore", "r", "--no-wait", "--json")
    assert json.loads(asked.stdout)["objects"] == {"coming back": 1}


def test_the_log_of_links_is_renewed_where_it_lies(run: Run) -> None:
    run.record(run.store(cold=1), time.time() - 61)
    later_s = 3_600.0
    first, *_ = run.links(later_s)
    assert "expired since" in first[2]
    assert not run.folder.links.exists(), "not all outcomes were looked at"

    def renew(at_s: float) -> list[str]:
        found = standing(run.folder, 3)
        list(link_lines(run.folder, found, lambda: time.time() + at_s, whole=True))
        return run.folder.links.read_text().splitlines()

    before = renew(0.0)
    time.sleep(2.1)  # times are whole seconds: a link that is good for a second longer is taken for the same
    lines = renew(later_s)
    assert [line.split("\t")[0] for line in lines] == ["r/0", "r/1", "r/2"]
    assert lines[0] == before[0], "the cold one has no other"
    assert all(old != new for old, new in zip(before[1:], lines[1:], strict=True))
    url, until = lines[1].split("\t")[1:]
    assert datetime.fromisoformat(until).timestamp() == pytest.approx(time.time() + 60, abs=30)
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"pixels"
    assert renew(0.0) == lines, "those that are good stay"
