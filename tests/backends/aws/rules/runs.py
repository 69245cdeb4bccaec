"""Scenarios of runs, tables, messages and lists."""

from __future__ import annotations

import random

import pytest
from botocore.exceptions import ClientError

from kon.backends.aws import AwsBackend
from kon.backends.aws.calls import Calls
from kon.backends.aws.dynamodb import DynamoLedger, RowLayout, table_definition
from kon.backends.aws.pace import Pace
from kon.backends.emulator.strict.faults import Fault
from kon.core.backend import ChannelOptions
from kon.core.errors import ConfigurationError
from kon.core.ledger import Record
from kon.core.queue import Message
from tests.backends.aws.rules.bed import CHANNEL, Bed, of, refused

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
