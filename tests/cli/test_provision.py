"""`kon up` and `kon down`, on MiniStack."""

from __future__ import annotations

import asyncio
import itertools
import json
import secrets
import shutil
from pathlib import Path
from typing import Any

import boto3
import pytest
from click.testing import Result

from kon.backends.aws import AwsBackend
from kon.backends.aws.resources import Resources
from kon.backends.emulator import Emulator
from kon.core.errors import BackendUnavailable, StoreError
from kon.core.lock import client_lock
from kon.engine.records.records import RunFolder
from tests.cli.given import invoke, write
from tests.emulators import as_anybody, queues_of, tables_of

AWS = """\
name: {name}
backend: {{name: aws, prefix: {prefix}}}
workload: {{kind: sleep, count: 20, seconds: 0}}
workers: [1, 2]
"""


@pytest.fixture
def prefix(on_ministack: Emulator) -> str:
    """A prefix that no other test has, so that the bucket is its own too."""
    return f"t{secrets.token_hex(4)}"


@pytest.fixture
def file(tmp_path: Path, prefix: str) -> Path:
    return write(tmp_path, AWS.format(name="ups", prefix=prefix))


def told(*args: str | Path, code: int = 0) -> dict[str, Any]:
    result = invoke(*args, "--json")
    assert result.exit_code == code, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def queues(prefix: str) -> list[str]:
    return queues_of(f"{prefix}-")


tables = tables_of


def test_runs_that_are_recorded_to_the_end_need_nothing(file: Path, prefix: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    one, two = (RunFolder(out / f"ups-lease-w{workers}-r1") for workers in (1, 2))
    for folder in (one, two):
        folder.path.mkdir(parents=True)
    one.write_summary({"run": one.path.name})
    made = told("up", file, "--out", out)
    assert made["changed"] is True
    assert len(queues(prefix)) == 3, "those of the run that is not over"
    assert {two.path.name in name for name in queues(prefix)} == {True}
    two.write_summary({"run": two.path.name})
    assert told("up", file, "--out", out) == {**made, "changed": False, "resources": []}


def test_up_and_down_and_each_of_them_twice(file: Path, prefix: str) -> None:
    plan = told("up", file, "--dry-run")
    assert plan["changed"] is True
    assert [each["exists"] for each in plan["resources"]] == [False] * 9
    assert {each["kind"] for each in plan["resources"]} == {"queue", "table", "bucket"}
    assert all(each["tags"]["Project"] == "kon" for each in plan["resources"])
    assert queues(prefix) == []  # it was only said

    made = told("up", file)
    assert made["changed"] is True
    names = [each["name"] for each in made["resources"]]
    assert names == [each["name"] for each in plan["resources"]]
    assert {*queues(prefix), *tables(prefix)} <= set(names)
    assert len(queues(prefix)) == 6
    assert len(tables(prefix)) == 2

    again = told("up", file)
    assert again["changed"] is False
    assert all(each["exists"] for each in again["resources"])
    assert told("up", file, "--dry-run")["changed"] is False

    assert told("down", file, "--dry-run")["changed"] is True
    assert len(queues(prefix)) == 6
    gone = told("down", file)
    assert gone["changed"] is True
    assert {each["kind"] for each in gone["resources"] if each["exists"]} == {"bucket"}, "which runs share"
    assert queues(prefix) == tables(prefix) == []
    assert told("down", file)["changed"] is False


def test_a_run_works_on_what_was_made_ahead_and_deletes_it(file: Path, prefix: str) -> None:
    told("up", file)
    result = invoke("run", file, "--json")
    assert [row["done"] for row in json.loads(result.stdout)["runs"]] == [20, 20]
    assert queues(prefix) == []
    # by its records, for a run that is over
    assert told("down", "ups-lease-w1-r1")["changed"] is False


def test_down_of_a_run_that_never_was(prefix: str, tmp_path: Path) -> None:
    result = invoke("down", "never-lease-w1-r1", "--set", f"backend.prefix={prefix}")
    assert result.exit_code == 0
    said = "never-lease-w1-r1 has no queue and no table at Amazon: it never was there, or is over"
    assert said in result.stderr
    assert "deleted" not in result.stdout


def test_down_by_name_alone_of_a_run_begun_elsewhere(file: Path, prefix: str) -> None:
    told("up", file)
    invoke("down", "ups-lease-w1-r1", "--set", f"backend.prefix={prefix}")
    assert tables(prefix) == [f"{prefix}-ups-lease-w2-r1"]
    told("down", file)


def test_a_file_that_is_not_there_is_no_run(tmp_path: Path) -> None:
    for asked in (["down", "none.yml"], ["up", "none.yml"], ["up", "none"], ["down", "none", "--limit", "3"]):
        result = invoke(*asked)
        assert result.exit_code == 2
        assert "none" in result.stderr


def test_what_is_not_over_is_kept_without_force(file: Path, prefix: str) -> None:
    assert invoke("submit", file, "-q").exit_code == 0
    assert told("down", "ups-lease-w1-r1", "--dry-run")["changed"] is True
    refused = invoke("down", "ups-lease-w1-r1")
    assert refused.exit_code == 2
    assert "is not over" in refused.stderr
    assert "kon collect" in refused.stderr
    assert len(queues(prefix)) == 6
    assert told("down", file, "--force")["changed"] is True
    assert queues(prefix) == []


def test_nothing_is_deleted_under_a_client_that_is_at_work(file: Path, prefix: str) -> None:
    assert invoke("submit", file, "-q").exit_code == 0

    async def while_it_is() -> Result:
        async with client_lock(Path("results") / "ups"):
            return await asyncio.to_thread(invoke, "down", "ups-lease-w1-r1")

    refused = asyncio.run(while_it_is())
    assert refused.exit_code == 2
    assert "a client is at work" in refused.stderr
    assert len(queues(prefix)) == 6
    told("down", file, "--force")


@pytest.mark.parametrize("by_name", [True, False])
def test_what_is_queued_by_somebody_elsewhere_is_kept_without_force(
    file: Path, prefix: str, by_name: bool
) -> None:
    assert invoke("submit", file, "-q").exit_code == 0
    shutil.rmtree("results")  # as on a machine that has never seen the run
    asked = ["ups-lease-w1-r1", "--set", f"backend.prefix={prefix}"] if by_name else [file]
    refused = invoke("down", *asked)
    assert refused.exit_code == 2
    assert "has no records here, but about 1 message at Amazon" in refused.stderr
    assert len(queues(prefix)) == 6
    assert told("down", *asked, "--force")["changed"] is True
    told("down", file, "--force")
    assert queues(prefix) == []


def test_what_tasks_have_stored_goes_too_unless_it_is_to_be_kept(file: Path, prefix: str) -> None:
    plan = told("up", file)
    [bucket] = [each["name"] for each in plan["resources"] if each["kind"] == "bucket"]
    store: Any = boto3.client("s3")

    async def stored() -> None:
        backend = AwsBackend({"prefix": prefix})
        channel = await backend.open("ups-lease-w1-r1")
        video = Path("video.mkv")
        video.write_bytes(b"x")
        await channel.objects.put("video.mkv", video)
        await backend.close()

    asyncio.run(stored())
    told("down", file, "--keep-objects")
    assert store.list_objects_v2(Bucket=bucket)["KeyCount"] == 1
    told("down", file)
    assert store.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_another_backend_has_nothing_at_amazon(tmp_path: Path) -> None:
    for verb in ("up", "down"):
        result = invoke(verb, write(tmp_path))
        assert result.exit_code == 2
        assert "nothing of it is at Amazon (backend: memory)" in result.stderr


@pytest.mark.parametrize("verb", ["up", "down"])
def test_options_of_a_file_are_not_a_runs(verb: str, file: Path) -> None:
    assert invoke("submit", file, "-q").exit_code == 0
    result = invoke(verb, "ups-lease-w1-r1", "--limit", "3")
    assert result.exit_code == 2
    assert "--set and --limit are for an experiment FILE" in result.stderr
    told("down", file, "--force")


def test_what_can_not_be_deleted_is_told_with_its_own_code(
    file: Path, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told("up", file)
    real = Resources.delete

    async def fails(self: Resources, run: str, keep_objects: bool = False) -> None:
        if run == "ups-lease-w1-r1":
            raise StoreError("the table does not carry the tags")
        await real(self, run, keep_objects)

    monkeypatch.setattr(Resources, "delete", fails)
    result = invoke("down", file)
    assert result.exit_code == 5
    assert "kon: the table does not carry the tags" in result.stderr
    assert f"still there: queue {prefix}-ups-lease-w1-r1-tasks" in result.stderr
    assert tables(prefix) == [f"{prefix}-ups-lease-w1-r1"]  # the other run was seen to
    monkeypatch.setattr(Resources, "delete", real)
    told("down", file)


@pytest.mark.parametrize("verb", ["up", "submit"])
def test_a_run_that_can_not_be_made_keeps_no_other_from_it(file: Path, prefix: str, verb: str) -> None:
    """And whoever mends the cause and repeats the command gets the rest."""
    theirs = as_anybody("sqs")
    url = theirs.create_queue(QueueName=f"{prefix}-ups-lease-w1-r1-tasks")["QueueUrl"]
    result = invoke(verb, file)
    assert result.exit_code == 2
    assert f"kon: there is a queue {prefix}-ups-lease-w1-r1-tasks that kon did not make" in result.stderr
    assert f"{prefix}-ups-lease-w2-r1" in tables(prefix)
    theirs.delete_queue(QueueUrl=url)
    assert invoke(verb, file).exit_code == 0
    assert len(tables(prefix)) == 2
    told("down", file, "--force")


def test_what_went_wrong_is_told_where_nobody_can_look_afterwards(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, looks = Resources.describe, itertools.count(1)

    async def describe(self: Resources, run: str) -> Any:
        if next(looks) > 2:
            raise BackendUnavailable("SQS does not answer")
        return await real(self, run)

    async def create(self: Resources, run: str, channel: Any) -> None:
        raise StoreError(f"{run} can't be made")

    monkeypatch.setattr(Resources, "describe", describe)
    monkeypatch.setattr(Resources, "create", create)
    result = invoke("up", file)
    assert result.exit_code == 3
    for words in ("ups-lease-w1-r1 can't", "ups-lease-w2-r1 can't", "SQS does not answer"):
        assert f"kon: {words}" in result.stderr


def test_amazon_out_of_reach_is_an_error_of_amazons(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def unreachable(self: Resources, run: str) -> None:
        raise BackendUnavailable("SQS does not answer")

    monkeypatch.setattr(Resources, "describe", unreachable)
    for verb in ("up", "down"):
        assert invoke(verb, file).exit_code == 3


@pytest.mark.parametrize("verb", ["up", "down"])
def test_a_file_that_is_not_there_is_named(tmp_path: Path, verb: str) -> None:
    file = write(tmp_path, AWS.format(name="ups", prefix="kon"))
    missing = file.with_stem("exq")
    refused = invoke(verb, missing, "--set", "backend=aws")
    assert refused.exit_code == 2
    assert refused.stderr == f'kon: {missing}: there is no such file, did you mean "{file.name}"?\n'


def test_without_credentials_the_exit_code_is_3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    result = invoke("up", write(tmp_path, AWS.format(name="ups", prefix="kon")), "--dry-run")
    assert result.exit_code == 3
    assert "no AWS credentials" in result.stderr


def test_records_of_a_run_are_left_alone(file: Path) -> None:
    assert invoke("submit", file, "-q").exit_code == 0
    told("down", file, "--force")
    assert RunFolder(Path("results/ups/ups-lease-w1-r1")).exists
