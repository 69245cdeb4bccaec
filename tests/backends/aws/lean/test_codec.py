"""Bodies: written and read as botocore does."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from botocore.parsers import create_parser
from hypothesis import given, settings
from hypothesis import strategies as st

from kon.backends.aws.calls import Calls, Client
from kon.backends.aws.clients import Clients
from kon.backends.aws.lean import codec
from kon.backends.emulator import Emulator
from tests.backends.aws.given import fresh_name, make_queue, make_table

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
values = st.one_of(
    st.fixed_dictionaries({"S": texts}),
    st.fixed_dictionaries({"N": st.integers().map(str)}),
    st.fixed_dictionaries({"B": st.binary(max_size=20)}),
)
rows = st.dictionaries(texts, values, max_size=3)
calls_made = st.one_of(
    st.tuples(
        st.just(("sqs", "SendMessageBatch")),
        st.fixed_dictionaries(
            {
                "QueueUrl": texts,
                "Entries": st.lists(
                    st.fixed_dictionaries(
                        {"Id": texts, "MessageBody": texts},
                        optional={"DelaySeconds": st.integers(0, 900), "MessageGroupId": texts},
                    ),
                    max_size=3,
                ),
            }
        ),
    ),
    st.tuples(
        st.just(("dynamodb", "BatchExecuteStatement")),
        st.fixed_dictionaries(
            {
                "Statements": st.lists(
                    st.fixed_dictionaries({"Statement": texts, "Parameters": st.lists(values, max_size=3)}),
                    max_size=3,
                ),
                "ReturnConsumedCapacity": st.just("TOTAL"),
            }
        ),
    ),
    st.tuples(
        st.just(("dynamodb", "BatchGetItem")),
        st.fixed_dictionaries(
            {
                "RequestItems": st.fixed_dictionaries(
                    {
                        "t": st.fixed_dictionaries(
                            {"Keys": st.lists(rows, max_size=3), "ConsistentRead": st.booleans()}
                        )
                    }
                )
            }
        ),
    ),
)


@settings(max_examples=150, deadline=None)
@given(calls_made)
def test_requests_are_botocores(clients: Clients, made: tuple[tuple[str, str], dict[str, Any]]) -> None:
    (service, operation), parameters = made
    shown = clients.show(service, operation, parameters)
    assert json.loads(codec.encode(parameters)) == json.loads(shown.body)


answers = st.fixed_dictionaries(
    {},
    optional={
        "Item": rows,
        "Error": st.fixed_dictionaries({"Code": texts}, optional={"Message": texts, "Item": rows}),
    },
)
units = st.lists(st.fixed_dictionaries({"TableName": texts, "CapacityUnits": st.floats(0, 9)}), max_size=2)
failures = st.fixed_dictionaries(
    {"Id": texts, "Code": texts, "SenderFault": st.booleans()}, optional={"Message": texts}
)
messages = st.fixed_dictionaries(
    {"MessageId": texts, "ReceiptHandle": texts, "Body": texts},
    optional={"Attributes": st.fixed_dictionaries({"ApproximateReceiveCount": st.integers(1).map(str)})},
)
keys = st.fixed_dictionaries({"t": st.fixed_dictionaries({"Keys": st.lists(rows, max_size=2)})})
replies = st.one_of(
    st.tuples(
        st.just(("sqs", "SendMessageBatch")),
        st.fixed_dictionaries(
            {"Successful": st.lists(st.fixed_dictionaries({"Id": texts}), max_size=3)},
            optional={"Failed": st.lists(failures, max_size=2)},
        ),
    ),
    st.tuples(
        st.just(("sqs", "ReceiveMessage")),
        st.fixed_dictionaries({}, optional={"Messages": st.lists(messages, max_size=3)}),
    ),
    st.tuples(
        st.just(("dynamodb", "BatchExecuteStatement")),
        st.fixed_dictionaries(
            {"Responses": st.lists(answers, max_size=3)}, optional={"ConsumedCapacity": units}
        ),
    ),
    st.tuples(
        st.just(("dynamodb", "BatchGetItem")),
        st.fixed_dictionaries(
            {"Responses": st.fixed_dictionaries({"t": st.lists(rows, max_size=3)})},
            optional={"UnprocessedKeys": keys, "ConsumedCapacity": units},
        ),
    ),
)


@settings(max_examples=150, deadline=None)
@given(replies)
def test_replies_are_read_as_by_botocore(
    clients: Clients, answered: tuple[tuple[str, str], dict[str, Any]]
) -> None:
    (service, operation), answer = answered
    model = clients.get(service).meta.service_model.operation_model(operation)
    body = codec.encode(answer)
    whole = {"status_code": 200, "headers": {}, "body": body, "context": {}}
    parsed = create_parser("json").parse(whole, model.output_shape)
    del parsed["ResponseMetadata"]
    assert codec.decode(service, operation, body) == parsed == answer


def test_an_empty_reply_says_nothing() -> None:
    assert codec.decode("sqs", "DeleteMessageBatch", b"") == {}


def test_what_is_of_no_use_is_left_out() -> None:
    body = b'{"Responses": [{"TableName": "t", "Item": {"a": {"SS": ["x"]}}}], "New": {"a": 1}}'
    assert codec.decode("dynamodb", "BatchExecuteStatement", body) == {"Responses": [{"Item": {"a": {}}}]}


def test_both_clients_are_answered_alike_by_an_emulator(on_ministack: Emulator) -> None:
    """And billed alike; but requests have no blanks."""

    async def whole(client: Client) -> Any:
        calls, name = Calls(client=client), f"{fresh_name()}-{client[0]}"
        await make_table(calls, name)
        queue = await make_queue(calls, name)
        calls.count.billed.clear()
        entries = [{"Id": str(n), "MessageBody": f"body {n} \u00e4"} for n in range(3)]
        found = [await calls.call("sqs", "SendMessageBatch", QueueUrl=queue, Entries=entries)]
        about = {"QueueUrl": queue, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 1}
        received = await calls.poll("sqs", "ReceiveMessage", **about)
        handles = [
            {"Id": str(n), "ReceiptHandle": each["ReceiptHandle"]}
            for n, each in enumerate(received["Messages"])
        ]
        longer = [{**each, "VisibilityTimeout": 9} for each in handles]
        found.append(await calls.call("sqs", "ChangeMessageVisibilityBatch", QueueUrl=queue, Entries=longer))
        found.append(await calls.call("sqs", "DeleteMessageBatch", QueueUrl=queue, Entries=handles))
        insert = {
            "Statement": f"INSERT INTO \"{name}\" VALUE {{'pk': ?, 'sk': 0, 'b': ?}}",
            "Parameters": [{"S": "x"}, {"B": b"\0\xff"}],
        }
        for _ in range(2):
            found.append(
                await calls.call(
                    "dynamodb",
                    "BatchExecuteStatement",
                    Statements=[insert],
                    ReturnConsumedCapacity="TOTAL",
                )
            )
        wanted = {name: {"Keys": [{"pk": {"S": "x"}, "sk": {"N": "0"}}], "ConsistentRead": True}}
        found.append(await calls.call("dynamodb", "BatchGetItem", RequestItems=wanted))
        await calls.close()
        billed = calls.count.billed
        bodies = sorted(message["Body"] for message in received["Messages"])
        return bodies, [_common(each, name) for each in found], billed

    lean, boto3 = asyncio.run(whole("lean")), asyncio.run(whole("boto3"))
    assert lean[2].pop("bytes_out") < boto3[2].pop("bytes_out")
    assert lean == boto3
    assert lean[1][-1]["Responses"]["TABLE"][0]["b"] == {"B": b"\0\xff"}


def _common(answer: dict[str, Any], table: str) -> dict[str, Any]:
    """What kon has a use for, with one name for the table."""

    def named(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                named(key): named(each)
                for key, each in value.items()
                if key not in ("ResponseMetadata", "MessageId", "MD5OfMessageBody", "TableName")
                or (key == "TableName" and "CapacityUnits" in value)
            }
        if isinstance(value, list):
            return [named(each) for each in value]
        return "TABLE" if value == table else value

    found: dict[str, Any] = named(answer)
    return found
