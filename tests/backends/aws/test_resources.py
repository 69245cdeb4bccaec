"""What is made at Amazon for a run, and what is left when it is deleted."""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from kon.backends.aws import AwsBackend
from kon.backends.aws.dynamodb import table_definition
from kon.backends.aws.options import AwsOptions, names_of, tags_of
from kon.backends.aws.resources import Resources
from kon.backends.aws.things import CHANGE_S, Things
from kon.backends.emulator import Emulator
from kon.core.backend import ChannelOptions
from kon.core.errors import BackendUnavailable, ConfigurationError, StoreError, first_cause
from kon.core.spec import Plugin, RunSpec
from kon.engine.records.records import RunFolder
from kon.launch.local import LocalRun
from tests.backends.aws.given import Fault, FaultyCalls, Make, Pauses, Reply

OLD = datetime.fromtimestamp(0.0, UTC)
CHANNEL = ChannelOptions(visibility_s=2.5, max_receives=4)

_numbers = itertools.count()


class Bed:
    """A prefix of its own on the emulator in use."""

    def __init__(self, calls: FaultyCalls) -> None:
        self.calls = calls
        self.prefix = f"bed{next(_numbers)}"
        self.pauses = Pauses()
        self.began_s = time.time()

    def resources(self, **options: Any) -> Resources:
        given = AwsOptions(prefix=self.prefix, **options)
        return Resources(self.calls, given, lambda: self.began_s + sum(self.pauses.all_s), self.pauses)

    async def call(self, service: str, operation: str, **parameters: Any) -> Any:
        return await self.calls.call(service, operation, **parameters)

    async def url(self, name: str) -> str:
        url: str = (await self.call("sqs", "GetQueueUrl", QueueName=name))["QueueUrl"]
        return url

    async def what_exists(self, run: str) -> dict[str, bool]:
        return {each.name: each.exists for each in await self.resources().describe(run)}


Body = Callable[[Bed], Coroutine[Any, Any, None]]


def on_a_bed(body: Body) -> Callable[[Emulator], None]:
    def test(on_ministack: Emulator) -> None:
        async def whole() -> None:
            calls = FaultyCalls()
            try:
                await body(Bed(calls))
            finally:
                await calls.close()

        asyncio.run(whole())

    test.__name__ = body.__name__
    test.__doc__ = body.__doc__
    return test


@on_a_bed
async def test_everything_carries_its_tags_from_its_very_creation(bed: Bed) -> None:
    expires = datetime.fromtimestamp(bed.began_s + 86_400, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    wanted = {"Project": "kon", "Run": "r", "ExpiresAt": expires}
    seen: set[str] = set()

    async def watched(operation: str, parameters: dict[str, Any], make: Make) -> Reply:
        tags: Mapping[str, str] | None = None
        if operation == "CreateQueue":
            tags = parameters["tags"]
        elif operation == "CreateTable":
            tags = {tag["Key"]: tag["Value"] for tag in parameters["Tags"]}
        elif operation == "CreateBucket":
            pairs = parameters["CreateBucketConfiguration"]["Tags"]
            tags = {tag["Key"]: tag["Value"] for tag in pairs if tag != {"Key": "Run", "Value": ":shared"}}
            tags = {**tags, "Run": "r"}
        if tags is not None:
            assert wanted.items() <= tags.items(), operation
            seen.add(operation)
        return await make()

    bed.calls.fault = watched
    await bed.resources().create("r", CHANNEL)
    assert sorted(seen) == ["CreateBucket", "CreateQueue", "CreateTable"]


@on_a_bed
async def test_the_queues_are_such_as_the_run_needs(bed: Bed) -> None:
    await bed.resources().create("r", CHANNEL)
    attributes = {}
    for name in ("tasks", "answers", "dead"):
        url = await bed.url(f"{bed.prefix}-r-{name}")
        reply = await bed.call("sqs", "GetQueueAttributes", QueueUrl=url, AttributeNames=["All"])
        attributes[name] = reply["Attributes"]
        assert reply["Attributes"]["VisibilityTimeout"] == "3", "whole seconds, and no less than asked for"
        assert reply["Attributes"]["MessageRetentionPeriod"] == str(14 * 86_400)
    redrive = attributes["tasks"]["RedrivePolicy"]
    assert attributes["dead"]["QueueArn"] in redrive
    assert "4" in redrive
    assert "RedrivePolicy" not in attributes["answers"]


@on_a_bed
async def test_what_is_named_by_its_arn_is_of_the_callers_partition(bed: Bed) -> None:
    """China and GovCloud have others than `aws`."""
    seen: set[str] = set()

    async def in_china(operation: str, parameters: dict[str, Any], make: Make) -> Reply:
        if operation == "GetCallerIdentity":
            return {**await make(), "Arn": "arn:aws-cn:iam::000000000000:user/me"}
        made = [each.get("Policy") for each in (parameters, parameters.get("Attributes", {}))]
        seen.update(re.findall(r"arn:[a-z-]*:[a-z0-9]+", str(made)))
        return await make()

    async def has_tls(self: Things, service: str) -> bool:
        return True

    bed.calls.fault = in_china
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Things, "has_tls", has_tls)  # policies are made for that alone
        await bed.resources().create("r", CHANNEL)
    assert seen == {"arn:aws-cn:sqs", "arn:aws-cn:s3"}


@on_a_bed
async def test_the_table_and_the_bucket_clean_up_after_themselves(bed: Bed) -> None:
    await bed.resources().create("r", CHANNEL)
    table = f"{bed.prefix}-r"
    expiry = await bed.call("dynamodb", "DescribeTimeToLive", TableName=table)
    assert expiry["TimeToLiveDescription"]["TimeToLiveStatus"] in ("ENABLING", "ENABLED")
    described = await bed.call("dynamodb", "DescribeTable", TableName=table)
    assert described["Table"]["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    (bucket,) = [each.name for each in await bed.resources().describe("r") if each.kind == "bucket"]
    rules = await bed.call("s3", "GetBucketLifecycleConfiguration", Bucket=bucket)
    assert [rule["AbortIncompleteMultipartUpload"] for rule in rules["Rules"]] == [{"DaysAfterInitiation": 1}]


@on_a_bed
async def test_a_table_with_provisioned_capacity(bed: Bed) -> None:
    options = AwsOptions.parse({"billing": {"read": 7, "write": 9}})
    await bed.resources(billing=options.billing).create("r", CHANNEL)
    described = await bed.call("dynamodb", "DescribeTable", TableName=f"{bed.prefix}-r")
    units = described["Table"]["ProvisionedThroughput"]
    assert (units["ReadCapacityUnits"], units["WriteCapacityUnits"]) == (7, 9)


@on_a_bed
async def test_a_ledger_in_s3_needs_no_table(bed: Bed) -> None:
    resources = bed.resources(ledger="s3")
    await resources.create("r", CHANNEL)
    assert "CreateTable" not in bed.calls.operations
    assert [each.kind for each in await resources.describe("r")] == ["queue", "queue", "queue", "bucket"]


@on_a_bed
async def test_a_description_makes_nothing(bed: Bed) -> None:
    described = await bed.resources().describe("r")
    assert [(each.service, each.kind, each.exists) for each in described] == [
        ("sqs", "queue", False),
        ("sqs", "queue", False),
        ("sqs", "queue", False),
        ("dynamodb", "table", False),
        ("s3", "bucket", False),
    ]
    assert described[0].tags == tags_of("r", AwsOptions(), bed.began_s + sum(bed.pauses.all_s))
    assert not [each for each in bed.calls.operations if each.startswith(("Create", "Put"))]


@pytest.mark.parametrize(
    "other", [{"queue": "fifo"}, {"ledger": "s3"}, {"billing": AwsOptions.parse({"billing": {}}).billing}]
)
def test_a_run_that_is_there_with_other_options_is_refused(on_ministack: Emulator, other: Any) -> None:
    async def main() -> None:
        calls = FaultyCalls()
        bed = Bed(calls)
        await bed.resources().create("r", CHANNEL)
        calls.operations.clear()
        with pytest.raises(ConfigurationError, match="It is left as it is"):
            await bed.resources(**other).create("r", CHANNEL)
        assert not [each for each in calls.operations if each.startswith(("Create", "Put"))]
        await calls.close()

    asyncio.run(main())


@on_a_bed
async def test_a_creation_that_was_interrupted_is_gone_on_with(bed: Bed) -> None:
    async def no_table(operation: str, parameters: dict[str, Any], make: Make) -> Reply:
        if operation == "CreateTable":
            raise BackendUnavailable("down")
        return await make()

    bed.calls.fault = no_table
    with pytest.raises(BackendUnavailable):
        await bed.resources().create("r", CHANNEL)
    bed.calls.fault = None
    with pytest.raises(StoreError, match='no run "r"'):
        await bed.resources().find("r")
    await bed.resources().create("r", CHANNEL)
    assert all((await bed.what_exists("r")).values())


@on_a_bed
async def test_a_queue_that_is_not_kons_is_left_alone(bed: Bed) -> None:
    name = f"{bed.prefix}-r-tasks"
    url = (await bed.call("sqs", "CreateQueue", QueueName=name))["QueueUrl"]
    with pytest.raises(ConfigurationError, match=f"there is a queue {name} that kon did not make"):
        await bed.resources().create("r", CHANNEL)
    with pytest.raises(StoreError, match="does not carry the tags Project=kon and Run=r"):
        await bed.resources().delete("r")
    assert await bed.url(name) == url


@on_a_bed
async def test_a_table_that_is_not_kons_is_left_alone(bed: Bed) -> None:
    name = f"{bed.prefix}-r"
    definition = table_definition()
    await bed.call("dynamodb", "CreateTable", TableName=name, BillingMode="PAY_PER_REQUEST", **definition)
    with pytest.raises(StoreError, match=f"the table {name} does not carry the tags"):
        await bed.resources().delete("r")
    assert (await bed.what_exists("r"))[name]


@on_a_bed
async def test_nothing_is_left_of_a_run_but_the_bucket_and_all_of_others(bed: Bed) -> None:
    for run in ("a", "b"):
        await bed.resources().create(run, CHANNEL)
        place = await bed.resources().find(run)
        for number in range(3):
            key = f"{place.names.objects}objects/{number}"
            await bed.call("s3", "PutObject", Bucket=place.bucket, Key=key, Body=b"x")
    bucket = (await bed.resources().find("b")).bucket
    await bed.resources().delete("a")
    assert not any(there for name, there in (await bed.what_exists("a")).items() if name != bucket)
    assert all((await bed.what_exists("b")).values())
    left = await bed.call("s3", "ListObjectsV2", Bucket=bucket)
    assert [each["Key"][0] for each in left["Contents"]] == ["b", "b", "b"]
    await bed.resources().delete("b")
    assert [name for name, there in (await bed.what_exists("b")).items() if there] == [bucket]
    assert "DeleteBucket" not in bed.calls.operations, "its name would be anybody's, and blocked for an hour"


@on_a_bed
async def test_deleting_what_is_not_there_does_nothing(bed: Bed) -> None:
    await bed.resources().delete("never")
    assert not [each for each in bed.calls.operations if each.startswith("Delete")]


@on_a_bed
async def test_a_run_is_deleted_whatever_the_options_it_was_made_with(bed: Bed) -> None:
    await bed.resources(queue="fifo").create("r", CHANNEL)
    await bed.resources(ledger="s3").delete("r")
    described = await bed.resources(queue="fifo").describe("r")
    assert not [each.name for each in described if each.exists and each.kind != "bucket"]


# --- what takes its time at Amazon ----------------------------------------------------------------------


def table_in(*states: str) -> Fault:
    """The first looks at a table find it in these states."""
    left = list(states)

    async def fault(operation: str, parameters: dict[str, Any], make: Make) -> Reply:
        if operation == "DescribeTable" and left:
            arn = f"arn:aws:dynamodb:us-east-1:000000000000:table/{parameters['TableName']}"
            return {"Table": {"TableStatus": left.pop(0), "TableArn": arn, "CreationDateTime": OLD}}
        if operation == "ListTagsOfResource" and left:
            return {"Tags": [{"Key": "Project", "Value": "kon"}, {"Key": "Run", "Value": "r"}]}
        if operation == "TagResource" and left:
            return {}
        return await make()

    return fault


@on_a_bed
async def test_a_table_that_is_going_is_waited_for_and_made_anew(bed: Bed) -> None:
    bed.calls.fault = table_in("DELETING", "DELETING")
    await bed.resources().create("r", CHANNEL)
    assert len(bed.pauses.all_s) >= 2
    assert (await bed.what_exists("r"))[f"{bed.prefix}-r"]


@on_a_bed
async def test_a_table_that_stays_in_another_state_is_told_of(bed: Bed) -> None:
    bed.calls.fault = table_in(*["UPDATING"] * 1_000)
    with pytest.raises(BackendUnavailable, match="is still being made, changed or deleted, after 300 s"):
        await bed.resources().create("r", CHANNEL)
    assert sum(bed.pauses.all_s) >= CHANGE_S


@on_a_bed
async def test_a_name_that_was_used_a_moment_ago_is_waited_for(bed: Bed) -> None:
    from kon.backends.aws.failures import CallRefused

    refused = iter(range(3))

    async def recently(operation: str, parameters: dict[str, Any], make: Make) -> Reply:
        if operation == "CreateQueue" and next(refused, None) is not None:
            code = "AWS.SimpleQueueService.QueueDeletedRecently"
            raise CallRefused("wait 60 seconds", code, 400, {})
        return await make()

    bed.calls.fault = recently
    await bed.resources().create("r", CHANNEL)
    assert len(bed.pauses.all_s) >= 3
    assert all((await bed.what_exists("r")).values())


# --- two clients of one name ----------------------------------------------------------------------------


def test_a_run_of_that_name_from_another_folder_is_refused(on_ministack: Emulator, tmp_path: Path) -> None:
    backend = Plugin("aws", {"prefix": f"bed{next(_numbers)}"})
    spec = RunSpec("r", "e", backend, Plugin("lease"), Plugin("sleep"), tasks=3)

    class Bodies:
        def bodies(self, workers: int) -> list[float]:
            return [0.0] * 3

    def submit(folder: str) -> None:
        try:
            asyncio.run(LocalRun(RunFolder(tmp_path / folder / "r"), spec, Bodies()).submit())
        except BaseExceptionGroup as error:
            raise first_cause(error) from error  # as the command line tells it

    submit("mine")
    submit("mine")
    with pytest.raises(ConfigurationError, match=r'there is a run "r" on aws already, with 3 tasks queued'):
        submit("yours")

    async def left() -> int:
        made = AwsBackend(backend.options)
        depth = await (await made.open("r")).tasks.depth()
        await made.delete("r")
        await made.close()
        return depth.total

    assert asyncio.run(left()) == 3


def test_no_bucket_is_named_by_a_run() -> None:
    """Which is why `:shared` stands for all of them."""
    assert names_of(":shared", AwsOptions()).tasks != "kon-:shared-tasks"
