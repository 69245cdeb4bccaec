"""A loop as the older systems had it: a call for each step, each after the one before.

    receive one, look it up, run it, write it down, answer, delete

`python -m benchmarks.peers.sqs.one_call THREADS` is its worker.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from typing import Any, Final

import boto3
import botocore.exceptions

from benchmarks.peers.sqs.marks import of_environment
from benchmarks.peers.sqs.peer import Peer

TASKS: Final = "older-tasks"
ANSWERS: Final = "older-answers"
TABLE: Final = "older-ledger"


class OneCall(Peer):
    """threads: of the worker."""

    def __init__(self, threads: int = 4) -> None:
        self._threads = threads

    def prepare(self) -> None:
        self._sqs = boto3.client("sqs")
        self._url = self._sqs.create_queue(QueueName=TASKS)["QueueUrl"]
        self._sqs.create_queue(QueueName=ANSWERS)
        boto3.client("dynamodb").create_table(
            TableName=TABLE,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "N"}],
            BillingMode="PAY_PER_REQUEST",
        )

    def worker(self) -> Sequence[str]:
        return ["-m", "benchmarks.peers.sqs.one_call", str(self._threads)]

    def submit(self, tasks: Sequence[int]) -> None:
        for task in tasks:
            self._sqs.send_message(QueueUrl=self._url, MessageBody=str(task))


def main() -> None:
    marks = of_environment()
    if marks is None:
        raise SystemExit("to be started by benchmarks.peers.sqs")
    sqs, dynamodb = boto3.client("sqs"), boto3.client("dynamodb")
    tasks, answers = (sqs.get_queue_url(QueueName=name)["QueueUrl"] for name in (TASKS, ANSWERS))
    marks.tell("ready")

    def loop() -> None:
        while True:
            got = sqs.receive_message(QueueUrl=tasks, MaxNumberOfMessages=1, WaitTimeSeconds=1)
            for message in got.get("Messages", ()):
                one(message)

    def one(message: dict[str, Any]) -> None:
        key = {"id": {"N": message["Body"]}}
        if "Item" not in dynamodb.get_item(TableName=TABLE, Key=key):
            try:
                dynamodb.put_item(TableName=TABLE, Item=key, ConditionExpression="attribute_not_exists(id)")
            except botocore.exceptions.ClientError as error:
                if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                    raise
            else:
                sqs.send_message(QueueUrl=answers, MessageBody=message["Body"])
        sqs.delete_message(QueueUrl=tasks, ReceiptHandle=message["ReceiptHandle"])
        marks.ran(int(message["Body"]))

    for _ in range(int(sys.argv[1])):
        threading.Thread(target=loop, daemon=True).start()
    threading.Event().wait()


if __name__ == "__main__":
    main()
