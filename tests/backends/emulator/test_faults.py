"""What each emulator gets wrong, in the order of the tables in docs/emulators.md, which name these tests.

A test that fails here is good news: the fault is mended. Take its line out of the page, then.
"""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from kon.backends.emulator import KINDS, Emulator

ONCE = {"total_max_attempts": 1}

KEY = {
    "KeySchema": [{"AttributeName": "k", "KeyType": "HASH"}],
    "AttributeDefinitions": [{"AttributeName": "k", "AttributeType": "S"}],
    "BillingMode": "PAY_PER_REQUEST",
}

SERVE_NOWHERE = """\
import hypercorn.asyncio
async def serve(app, config):
    print(config.bind[0])
hypercorn.asyncio.serve = serve
from ministack.app import main
main()
"""


def client(service: str, **config: Any) -> Any:
    return boto3.client(service, config=Config(retries=ONCE, **config))


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """One that no other test has."""
    return re.sub(r"\W+|_", "-", request.node.name).strip("-")[-60:]


def received(queue: str, visible_s: int) -> str:
    """The handle of the queue's one message."""
    got = client("sqs").receive_message(QueueUrl=queue, VisibilityTimeout=visible_s)
    handle: str = got["Messages"][0]["ReceiptHandle"]
    return handle


def sent(name: str) -> str:
    """A new queue with one message."""
    queues = client("sqs")
    queue: str = queues.create_queue(QueueName=name)["QueueUrl"]
    queues.send_message(QueueUrl=queue, MessageBody="hello")
    return queue


def opens(url: str) -> bool:
    try:
        with urllib.request.urlopen(url) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError as error:
        error.close()  # it holds the connection
        return False


def link(name: str, version: str, expires_s: int) -> str:
    """To an object that is there."""
    store = client("s3", signature_version=version)
    store.create_bucket(Bucket=name)
    store.put_object(Bucket=name, Key="k", Body=b"v")
    url: str = store.generate_presigned_url(
        "get_object", Params={"Bucket": name, "Key": "k"}, ExpiresIn=expires_s
    )
    return url


# --- MiniStack ------------------------------------------------------------------------------------------


def test_ministack_refuses_a_stale_receipt_handle(on_ministack: Emulator, name: str) -> None:
    queue = sent(name)
    stale = received(queue, visible_s=0)
    received(queue, visible_s=30)
    with pytest.raises(ClientError, match="ReceiptHandleIsInvalid"):
        client("sqs").delete_message(QueueUrl=queue, ReceiptHandle=stale)


def test_ministack_refuses_a_second_delete(on_ministack: Emulator, name: str) -> None:
    queue = sent(name)
    handle = received(queue, visible_s=30)
    client("sqs").delete_message(QueueUrl=queue, ReceiptHandle=handle)
    with pytest.raises(ClientError, match="ReceiptHandleIsInvalid"):
        client("sqs").delete_message(QueueUrl=queue, ReceiptHandle=handle)


def test_ministack_looks_for_messages_ten_times_a_second() -> None:
    from ministack.services import sqs  # its source, as a test of time could fail by itself

    assert "asyncio.sleep(min(0.1, " in inspect.getsource(sqs)


def test_ministack_mixes_reads_and_writes_in_a_batch(on_ministack: Emulator, name: str) -> None:
    tables = client("dynamodb")
    tables.create_table(TableName=name, **KEY)
    statements = [
        {"Statement": f"INSERT INTO \"{name}\" VALUE {{'k': 'a'}}"},
        {"Statement": f"SELECT * FROM \"{name}\" WHERE k='a'"},
    ]
    answers = tables.batch_execute_statement(Statements=statements)["Responses"]
    assert [each.get("Error") for each in answers] == [None, None]


def test_ministack_does_not_tell_what_a_batch_of_reads_used(on_ministack: Emulator, name: str) -> None:
    dynamodb = client("dynamodb")
    dynamodb.create_table(TableName=name, **KEY)
    dynamodb.put_item(TableName=name, Item={"k": {"S": "a"}})
    wanted = {name: {"Keys": [{"k": {"S": "a"}}]}}
    got = dynamodb.batch_get_item(RequestItems=wanted, ReturnConsumedCapacity="TOTAL")
    assert len(got["Responses"][name]) == 1
    assert "ConsumedCapacity" not in got


def test_ministack_bills_one_write_for_a_statement_of_any_size(on_ministack: Emulator, name: str) -> None:
    dynamodb = client("dynamodb")
    dynamodb.create_table(TableName=name, **KEY)
    insert = f"INSERT INTO \"{name}\" VALUE {{'k': 'large', 'v': ?}}"
    statements = [{"Statement": insert, "Parameters": [{"S": "x" * 10_000}]}]
    got = dynamodb.batch_execute_statement(Statements=statements, ReturnConsumedCapacity="TOTAL")
    assert sum(table["CapacityUnits"] for table in got["ConsumedCapacity"]) == 1.0


def test_ministack_takes_any_link_of_signature_version_2(on_ministack: Emulator, name: str) -> None:
    url = link(name, "s3", expires_s=600)
    past = re.sub(r"Expires=\d+", "Expires=1", url)
    assert past != url
    assert opens(past)
    # one of version 4, which kon makes, is checked
    assert not opens(link(f"{name}-4", "s3v4", expires_s=600)[:-4] + "0000")


def test_ministack_has_no_spot_hosts(on_ministack: Emulator) -> None:
    hosts = client("ec2")
    asked = {"ImageId": "ami-12345678", "InstanceType": "t3.micro"}
    with pytest.raises(ClientError, match="Unknown EC2 action"):
        hosts.request_spot_instances(LaunchSpecification=asked)
    made = hosts.run_instances(MinCount=1, MaxCount=1, InstanceMarketOptions={"MarketType": "spot"}, **asked)[
        "Instances"
    ]
    assert [each.get("InstanceLifecycle") for each in made] == [None]


def test_ministack_by_itself_listens_to_all_the_world(tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path), "TMPDIR": str(tmp_path), "GATEWAY_PORT": "45660"}
    done = subprocess.run(
        [sys.executable, "-c", SERVE_NOWHERE], env=environment, capture_output=True, text=True, check=True
    )
    assert "0.0.0.0:45660" in done.stdout.splitlines()


# --- moto -----------------------------------------------------------------------------------------------


def test_moto_has_no_insert_with_parameters(on_moto: Emulator, name: str) -> None:
    tables = client("dynamodb")
    tables.create_table(TableName=name, **KEY)
    statement = {"Statement": f"INSERT INTO \"{name}\" VALUE {{'k': ?}}", "Parameters": [{"S": "a"}]}
    with pytest.raises(ClientError, match="500"):
        tables.batch_execute_statement(Statements=[statement])


def test_moto_overwrites_at_a_repeated_insert(on_moto: Emulator, name: str) -> None:
    tables = client("dynamodb")
    tables.create_table(TableName=name, **KEY)
    for value in "12":
        statement = {"Statement": f"INSERT INTO \"{name}\" VALUE {{'k': 'a', 'v': '{value}'}}"}
        answers = tables.batch_execute_statement(Statements=[statement])["Responses"]
        assert [each.get("Error") for each in answers] == [None]
    assert tables.get_item(TableName=name, Key={"k": {"S": "a"}})["Item"]["v"] == {"S": "2"}


def test_moto_says_nothing_of_a_condition_that_fails(on_moto: Emulator, name: str) -> None:
    tables = client("dynamodb")
    tables.create_table(TableName=name, **KEY)
    tables.put_item(TableName=name, Item={"k": {"S": "a"}, "v": {"S": "1"}})
    statement = {
        "Statement": f'UPDATE "{name}" SET v=? WHERE k=? AND v=?',
        "Parameters": [{"S": "2"}, {"S": "a"}, {"S": "another"}],
    }
    answers = tables.batch_execute_statement(Statements=[statement])["Responses"]
    assert [each.get("Error") for each in answers] == [None]
    assert tables.get_item(TableName=name, Key={"k": {"S": "a"}})["Item"]["v"] == {"S": "1"}


def test_moto_takes_any_link(on_moto: Emulator, name: str) -> None:
    url = link(name, "s3v4", expires_s=1)
    made_s = time.time()
    while time.time() < made_s + 2.0:  # its clock has whole seconds
        time.sleep(0.1)
    assert opens(url)
    assert opens(f"{url[:-4]}0000")


def test_moto_takes_characters_that_amazon_does_not(on_moto: Emulator, name: str) -> None:
    queue = sent(name)
    sent_again = client("sqs").send_message(QueueUrl=queue, MessageBody="\x00")
    assert sent_again["ResponseMetadata"]["HTTPStatusCode"] == 200


# --- both -----------------------------------------------------------------------------------------------


@pytest.fixture(params=KINDS)
def on_each(request: pytest.FixtureRequest) -> Emulator:
    found: Emulator = request.getfixturevalue(f"on_{request.param}")
    return found


def test_both_let_anybody_do_anything(on_each: Emulator) -> None:
    nobody: Any = boto3.client("sqs", aws_access_key_id="nobody", aws_secret_access_key="wrong")
    assert nobody.list_queues()["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_both_make_a_queue_again_at_once(on_each: Emulator, name: str) -> None:
    queue = sent(name)
    client("sqs").delete_queue(QueueUrl=queue)
    assert client("sqs").create_queue(QueueName=name)["QueueUrl"] == queue


def test_both_have_a_table_ready_at_once(on_each: Emulator, name: str) -> None:
    made = client("dynamodb").create_table(TableName=name, **KEY)
    assert made["TableDescription"]["TableStatus"] == "ACTIVE"


# --- the page -------------------------------------------------------------------------------------------


def test_the_page_names_these_faults_and_no_others() -> None:
    page = (Path(__file__).parents[3] / "docs" / "emulators.md").read_text()
    here = [each for each in globals() if each.startswith("test_") and not each.startswith("test_the_page")]
    assert re.findall(r"`(test_\w+)`", page) == here
