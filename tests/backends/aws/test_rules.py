"""Each rule, met by kon: what it says is waited for, told or avoided, and never ends in a fault.

A scenario has kon do what the rule is about. Of most rules it is looked at that they had their say: kon that
took such an answer for an error would fail here. Those that kon avoids are broken by hand as well.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from botocore.exceptions import ClientError

from kon.backends.aws import AwsBackend
from kon.backends.aws.calls import Calls
from kon.backends.aws.dynamodb import DynamoLedger, RowLayout, table_definition
from kon.backends.aws.pace import Pace
from kon.backends.aws.policies import policy
from kon.backends.emulator import KEY_ID, Emulator
from kon.backends.emulator.strict import RULES
from kon.backends.emulator.strict.faults import Fault
from kon.core.backend import ChannelOptions
from kon.core.errors import BackendRefused, ConfigurationError
from kon.core.ledger import Record
from kon.core.queue import Message
from kon.fleet.clients import Clients
from kon.fleet.kinds import KINDS
from kon.fleet.thing import Filter
from tests.emulators import STRICT, as_anybody

CHANNEL: Final = ChannelOptions(visibility_s=3.0, max_receives=4)
ACCOUNT: Final = "000000000000"
RIGHTS: Final = msgspec.structs.replace(
    STRICT, policies={KEY_ID: [policy("client", "*"), policy("controller", "*")]}
)
"""Those of who runs, and has a look at all that there is."""

_numbers = itertools.count()


class Bed:
    """A prefix of its own, what kon does there, and what another may do."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self.prefix = f"rule{next(_numbers)}"
        self.bucket = f"{self.prefix}-{ACCOUNT}-us-east-1"
        self.table = f"{self.prefix}-r"
        self.sqs, self.s3, self.tables = (as_anybody(each) for each in ("sqs", "s3", "dynamodb"))
        self.tags = [{"Key": "Project", "Value": "kon"}, {"Key": "Run", "Value": "r"}]

    async def kon(
        self, *verbs: str, run: str = "r", channel: ChannelOptions = CHANNEL, **options: Any
    ) -> None:
        backend = AwsBackend({"prefix": self.prefix, **options})
        try:
            for verb in verbs:
                if verb == "create":
                    await backend.create(run, channel)
                elif verb == "delete":
                    await backend.delete(run)
                else:
                    await backend.open(run)
        finally:
            await backend.close()

    def makes_a_table(self, tags: bool = True) -> None:
        self.tables.create_table(
            TableName=self.table,
            BillingMode="PAY_PER_REQUEST",
            Tags=self.tags if tags else [],
            **table_definition(),
        )

    def found(self, kind: str) -> list[str]:
        """What `kon sweep` finds of a kind."""
        from kon.backends.prices import usual_prices

        [wanted] = [each for each in KINDS if each.name == kind]
        aws = Clients("us-east-1")
        try:
            return sorted(
                each.name
                for each in wanted.find(aws, Filter(), usual_prices())
                if each.name.startswith(self.prefix)
            )
        finally:
            aws.close()

    def set(self, **changes: Any) -> None:
        self.emulator.set_strict(msgspec.structs.replace(RIGHTS, **changes))


Scenario = Callable[[Bed], Awaitable[None]]
SCENARIOS: Final[dict[str, Scenario]] = {}


def of(*rules: str) -> Callable[[Scenario], Scenario]:
    def register(scenario: Scenario) -> Scenario:
        for rule in rules:
            SCENARIOS[rule] = scenario
        return scenario

    return register


def refused(call: Callable[..., Any], **parameters: Any) -> str:
    """A rule, broken by hand: its code."""
    with pytest.raises(ClientError) as raised:
        call(**parameters)
    code: str = raised.value.response["Error"]["Code"]
    return code


# --- a run that is made, opened and deleted -------------------------------------------------------------


@of(
    "table-takes-time",
    "deletion-takes-time",
    "tags-come-late",
    "bucket-is-being-configured",
    "dead-letter-queue-not-known-yet",
    "new-queue-not-usable-yet",
    "deleted-queue-keeps-its-url",
    "queue-deleted-recently",
)
async def a_run_comes_goes_and_comes_again(bed: Bed) -> None:
    await bed.kon("create", "open", "delete", "create", "open", "delete")


@of("new-queue-has-no-url-yet")
async def a_run_is_opened_as_soon_as_it_is_made(bed: Bed) -> None:
    await bed.kon("create")
    await bed.kon("open", "delete")


@of("queue-has-other-tags")
async def a_run_is_taken_up_a_day_later(bed: Bed) -> None:
    """ExpiresAt differs, and no tag goes to CreateQueue again."""
    await bed.kon("create", expires_h=24.0)
    await bed.kon("create", "open", expires_h=48.0)
    name = f"{bed.prefix}-r-tasks"
    assert "QueueAlreadyExists" in refused(bed.sqs.create_queue, QueueName=name, tags={"Project": "other"})


@of("queue-has-other-attributes")
async def a_run_is_asked_for_with_other_options(bed: Bed) -> None:
    await bed.kon("create")
    with pytest.raises(ConfigurationError, match="It is left as it is"):
        await bed.kon("create", channel=ChannelOptions(visibility_s=9.0, max_receives=4))
    url = bed.sqs.get_queue_url(QueueName=f"{bed.prefix}-r-tasks")["QueueUrl"]
    tags = bed.sqs.list_queue_tags(QueueUrl=url)["Tags"]
    other = {"QueueName": f"{bed.prefix}-r-tasks", "tags": tags, "Attributes": {"VisibilityTimeout": "9"}}
    assert "QueueAlreadyExists" in refused(bed.sqs.create_queue, **other)


# --- tables ---------------------------------------------------------------------------------------------


@of("too-many-tables-at-a-time")
async def an_account_makes_many_tables(bed: Bed) -> None:
    bed.set(limits={"tables at a time": 0})
    await bed.kon("create", "open")


@of("table-is-being-deleted")
async def a_table_of_that_name_is_just_going(bed: Bed) -> None:
    await bed.kon("create")
    bed.tables.delete_table(TableName=bed.table)
    with pytest.raises(ClientError, match="ResourceInUseException"):
        bed.makes_a_table()
    await bed.kon("create", "open")


@of("table-is-being-made")
async def a_table_is_deleted_that_is_just_made(bed: Bed) -> None:
    bed.makes_a_table()
    assert refused(bed.tables.delete_table, TableName=bed.table) == "ResourceInUseException"
    await bed.kon("delete")
    assert bed.found("table") == []


@of("deleted-tables-are-listed")
async def a_sweep_meets_a_table_that_is_going(bed: Bed) -> None:
    bed.makes_a_table()
    for _ in range(3):
        bed.tables.describe_table(TableName=bed.table)
    bed.tables.delete_table(TableName=bed.table)
    assert bed.found("table") == []


@of("expiry-is-on-already", "expiry-takes-time")
async def a_reply_about_expiry_was_lost(bed: Bed) -> None:
    bed.set(fault=Fault("dynamodb:UpdateTimeToLive", "lost_after"))
    await bed.kon("create", "create", "open")


@of("expiry-was-changed-a-moment-ago")
async def expiry_was_switched_off_by_somebody(bed: Bed) -> None:
    bed.makes_a_table()
    for _ in range(3):
        bed.tables.describe_table(TableName=bed.table)
    off = {"AttributeName": "expires_at_s", "Enabled": False}
    bed.tables.update_time_to_live(TableName=bed.table, TimeToLiveSpecification={**off, "Enabled": True})
    bed.set(off=["expiry-was-changed-a-moment-ago"])
    bed.tables.update_time_to_live(TableName=bed.table, TimeToLiveSpecification=off)
    bed.set()
    await bed.kon("create", "open")


@of(
    "table-has-no-rows-yet",
    "batches-read-or-write",
    "batches-have-25-statements",
    "batches-have-100-keys",
    "batches-have-no-key-twice",
    "statements-have-8192-characters",
    "some-keys-come-back",
)
async def many_rows_are_written_and_read(bed: Bed) -> None:
    await bed.kon("create", "open")
    calls = Calls()
    try:
        layout = RowLayout(bed.table, "ledger", spread=True)
        ledger = DynamoLedger(calls, layout, Pace(4, random.Random(1)))
        rows = [Record(number, "t") for number in range(130)]
        assert await ledger.insert_new(rows) == [None] * 130
        met = await ledger.insert_new(rows[:30])
        assert met == rows[:30], "each row that is in the way is read back"
        for _ in range(3):  # every fifth batch is answered in part
            assert await ledger.read(range(130)) == rows
    finally:
        await calls.close()
    write, read = (
        {"Statement": f"INSERT INTO \"{bed.table}\" VALUE {{'pk': 'x{{}}', 'sk': 0}}"},
        {"Statement": f"SELECT * FROM \"{bed.table}\" WHERE pk='x' AND sk=0"},
    )
    execute = bed.tables.batch_execute_statement
    assert refused(execute, Statements=[write, read]) == "ValidationException"
    assert refused(execute, Statements=[read] * 26) in ("ValidationException", "ParamValidationError")
    long = {"Statement": read["Statement"].replace("'x'", f"'{'x' * 8_192}'")}
    assert refused(execute, Statements=[long]) == "ValidationException"
    keys = [{"pk": {"S": "x"}, "sk": {"N": str(number)}} for number in range(101)]
    for some in (keys, [keys[0], keys[0]]):
        asked = {bed.table: {"Keys": some}}
        assert refused(bed.tables.batch_get_item, RequestItems=asked) == "ValidationException"
    other = f"{bed.prefix}-new"
    bed.tables.create_table(TableName=other, BillingMode="PAY_PER_REQUEST", **table_definition())
    assert refused(bed.tables.get_item, TableName=other, Key=keys[0]) == "ResourceNotFoundException"


# --- the bucket -----------------------------------------------------------------------------------------


@of("bucket-was-deleted-recently")
async def a_bucket_was_deleted_by_somebody(bed: Bed) -> None:
    await bed.kon("create", "delete")
    bed.s3.delete_bucket(Bucket=bed.bucket)
    await bed.kon("create", "open")


@of("deleted-buckets-are-listed")
async def a_sweep_meets_a_bucket_that_has_gone(bed: Bed) -> None:
    await bed.kon("create", "delete")
    bed.s3.delete_bucket(Bucket=bed.bucket)
    assert bed.found("bucket") == []


@of("bucket-has-another-owner")
async def a_bucket_of_that_name_is_anothers(bed: Bed) -> None:
    bed.s3.create_bucket(Bucket=bed.bucket)
    bed.set(owners={bed.bucket: "111111111111"})
    with pytest.raises(BackendRefused, match="another account"):
        await bed.kon("create")


@of("bucket-is-in-another-region")
async def a_bucket_of_that_name_is_in_another_region(bed: Bed) -> None:
    """boto3 follows S3 to the region, and kon sees whose the bucket is."""
    there = as_anybody("s3", region_name="eu-west-1", endpoint_url=bed.emulator.endpoint)
    there.create_bucket(Bucket=bed.bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    with pytest.raises(ConfigurationError, match=f"{bed.bucket} that does not have the tags"):
        await bed.kon("create")


@of("bucket-name-is-taken")
async def a_name_was_taken_a_moment_ago(bed: Bed) -> None:
    bed.s3.create_bucket(Bucket=bed.bucket)
    bed.set(owners={bed.bucket: "111111111111"}, fault=Fault("s3:HeadBucket", "not_there"))
    with pytest.raises(ConfigurationError, match="taken by another account"):
        await bed.kon("create")


@of("location-must-fit")
async def a_run_in_another_region(bed: Bed) -> None:
    await bed.kon("create", "open", "delete", region="eu-west-1")
    there = as_anybody("s3", region_name="eu-west-1", endpoint_url=bed.emulator.endpoint)
    code = refused(there.create_bucket, Bucket=f"{bed.prefix}-elsewhere")
    assert code == "IllegalLocationConstraintException"


@of("conditional-writes-meet")
async def rows_are_written_to_the_bucket(bed: Bed) -> None:
    backend = AwsBackend({"prefix": bed.prefix, "ledger": "s3"})
    try:
        await backend.create("r", CHANNEL)
        ledger = (await backend.open("r")).ledger
        rows = [Record(number, "t") for number in range(7)]
        assert await ledger.insert_new(rows) == [None] * 7
        assert await ledger.read(range(7)) == rows
    finally:
        await backend.close()


@of("a-thousand-keys-at-a-time")
async def a_run_with_many_objects_is_deleted(bed: Bed) -> None:
    await bed.kon("create")
    for number in range(1_001):
        bed.s3.put_object(Bucket=bed.bucket, Key=f"r/objects/{number}", Body=b"")
    await bed.kon("delete")
    assert bed.s3.list_objects_v2(Bucket=bed.bucket)["KeyCount"] == 0
    keys = [{"Key": str(number)} for number in range(1_001)]
    assert refused(bed.s3.delete_objects, Bucket=bed.bucket, Delete={"Objects": keys}) == "MalformedXML"


@of("rules-come-in-another-order")
async def a_buckets_rules_are_left_as_they_are(bed: Bed) -> None:
    await bed.kon("create", results_cold_after_days=3)
    before = len(bed.emulator.strict_state().calls)
    await bed.kon("create", results_cold_after_days=3)
    made = [each.call for each in bed.emulator.strict_state().calls[before:]]
    assert "s3:PutBucketLifecycleConfiguration" not in made


@of("bucket-names-are-plain", "tags-of-amazons-own")
async def a_bucket_that_a_stack_made(bed: Bed) -> None:
    """kon keeps Amazon's own tags by writing none, and has no prefix that makes no bucket's name."""
    with pytest.raises(ConfigurationError, match="prefix"):
        AwsBackend({"prefix": "Not_plain"})
    await bed.kon("create")
    own = {"TagSet": [{"Key": "aws:stack", "Value": "x"}]}
    assert refused(bed.s3.put_bucket_tagging, Bucket=bed.bucket, Tagging=own) == "InvalidTag"
    assert refused(bed.s3.create_bucket, Bucket="not-plain-s3alias") == "InvalidBucketName"


@of("keys-have-1024-bytes", "parts-have-5-mebibytes", "changes-have-a-checksum")
async def a_large_file_is_kept_and_a_long_name_is_not(bed: Bed) -> None:
    """Parts are of 8 MiB, whatever is left over; a name that S3 would refuse never gets there."""
    backend = AwsBackend({"prefix": bed.prefix})
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "file"
        file.write_bytes(b"x" * ((8 << 20) + 1))
        try:
            await backend.create("r", CHANNEL)
            objects = (await backend.open("r")).objects
            assert objects is not None
            await objects.put("large", file)
            assert await objects.size_bytes("large") == (8 << 20) + 1
            with pytest.raises(ConfigurationError, match="S3 takes 1,024"):
                await objects.put("k" * 1_025, file)
            await backend.delete("r")
        finally:
            await backend.close()
    s3, here = bed.s3, {"Bucket": bed.bucket, "Key": "m"}
    assert refused(s3.put_object, Bucket=bed.bucket, Key="k" * 1_025) == "KeyTooLongError"
    upload = {**here, "UploadId": s3.create_multipart_upload(**here)["UploadId"]}
    parts = [
        {"PartNumber": nth, "ETag": s3.upload_part(**upload, PartNumber=nth, Body=b"x")["ETag"]}
        for nth in (1, 2)
    ]
    code = refused(s3.complete_multipart_upload, **upload, MultipartUpload={"Parts": parts})
    assert code == "EntityTooSmall"
    s3.abort_multipart_upload(**upload)
    plain = as_anybody("s3")
    plain.meta.events.register("before-sign.s3", _without_checksum)
    keys = {"Objects": [{"Key": "x"}]}
    assert refused(plain.delete_objects, Bucket=bed.bucket, Delete=keys) == "InvalidRequest"


def _without_checksum(request: Any, **_: Any) -> None:
    for name in list(request.headers):
        if name.lower() == "content-md5" or name.lower().startswith("x-amz-checksum-"):
            del request.headers[name]


# --- messages -------------------------------------------------------------------------------------------


@of("queue-names-have-80-characters")
async def a_run_has_a_long_name(bed: Bed) -> None:
    await bed.kon("create", "open", "delete", run=f"{'r' * 150}.é")
    assert refused(bed.sqs.create_queue, QueueName="q" * 81) == "InvalidParameterValue"


@of("messages-are-hidden-for-12-hours", "polls-take-20-seconds")
async def a_message_is_held_and_waited_for_as_long_as_can_be(bed: Bed) -> None:
    backend = AwsBackend({"prefix": bed.prefix})
    try:
        await backend.create("r", CHANNEL)
        queue = (await backend.open("r")).tasks
        await queue.send([Message(b"m")])
        [delivery] = await queue.receive(1, 60.0)
        assert await queue.extend([delivery], 43_200.0) == [True]
        with pytest.raises(ValueError, match="43200"):
            await queue.extend([delivery], 43_201.0)
        await queue.ack([delivery])
    finally:
        await backend.close()
    url = bed.sqs.get_queue_url(QueueName=f"{bed.prefix}-r-tasks")["QueueUrl"]
    bed.sqs.send_message(QueueUrl=url, MessageBody="x")
    [got] = bed.sqs.receive_message(QueueUrl=url)["Messages"]
    held = {"QueueUrl": url, "ReceiptHandle": got["ReceiptHandle"], "VisibilityTimeout": 43_201}
    assert refused(bed.sqs.change_message_visibility, **held) == "InvalidParameterValue"
    assert refused(bed.sqs.receive_message, QueueUrl=url, WaitTimeSeconds=21) == "InvalidParameterValue"


# --- lists ----------------------------------------------------------------------------------------------


@of("deleted-queues-are-listed")
async def a_sweep_meets_queues_that_have_gone(bed: Bed) -> None:
    await bed.kon("create", "delete")
    assert bed.found("queue") == []


@of("new-queues-are-not-listed")
async def a_sweep_looks_again(bed: Bed) -> None:
    await bed.kon("create")
    looks = [len(bed.found("queue")) for _ in range(3)]
    assert looks[0] < looks[-1] == 3, "which is why nothing is taken for gone by one look"


@of("lists-end-at-a-thousand")
async def a_sweep_sees_more_than_one_answer_has(bed: Bed) -> None:
    await bed.kon("create")
    bed.set(limits={"queues listed": 1})
    bed.found("queue")
    assert len(bed.found("queue")) == 3
    assert len(bed.sqs.list_queues().get("QueueUrls", [])) == 1


OF_FLEETS: Final = {
    name for name, rule in RULES.items() if rule.on[0].startswith(("ec2:", "iam:", "sns:", "ssm:"))
}
"""Rules of what fleets are made of: tests/fleet has kon meet those, all together."""


def test_every_rule_has_its_scenario_or_its_test() -> None:
    assert RULES.keys() - SCENARIOS.keys() == OF_FLEETS


@pytest.mark.parametrize("rule", SCENARIOS)
def test_kon_lives_with_the_rule(on_ministack: Emulator, rule: str) -> None:
    bed = Bed(on_ministack)
    before = on_ministack.strict_state().met
    bed.set()
    try:
        asyncio.run(_whole(bed, rule))
    finally:
        on_ministack.set_strict(STRICT)
    met = on_ministack.strict_state().met.get(rule, 0) - before.get(rule, 0)
    assert met > 0, "the rule had no say: the scenario is not about it"


async def _whole(bed: Bed, rule: str) -> None:
    await SCENARIOS[rule](bed)
