"""Fixtures: Amazon's services on this machine, one server of each kind for the whole session.

`ministack` and `moto` give the server; `on_ministack` and `on_moto` also lead this process, and what it
starts, to it for one test. Names of queues, tables and buckets have to be the test's own. `inbox` is a
topic on moto, and what it is told.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from kon.backends.emulator import Emulator, started


@pytest.fixture(scope="session")
def ministack() -> Iterator[Emulator]:
    with started("ministack") as emulator:
        yield emulator


@pytest.fixture(scope="session")
def moto() -> Iterator[Emulator]:
    with started("moto") as emulator:
        yield emulator


@pytest.fixture
def on_ministack(ministack: Emulator) -> Iterator[Emulator]:
    with ministack.in_use():
        yield ministack


@pytest.fixture
def on_moto(moto: Emulator) -> Iterator[Emulator]:
    with moto.in_use():
        yield moto


class Inbox:
    """A topic, and a queue that gets what it is told."""

    def __init__(self, name: str) -> None:
        self.sns, self.sqs = boto3.client("sns"), boto3.client("sqs")
        self.topic: str = self.sns.create_topic(Name=name)["TopicArn"]
        self._queue = self.sqs.create_queue(QueueName=f"{name}-inbox")["QueueUrl"]
        about = self.sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["QueueArn"])
        arn = about["Attributes"]["QueueArn"]
        self.sns.subscribe(TopicArn=self.topic, Protocol="sqs", Endpoint=arn)

    def read(self) -> list[dict[str, Any]]:
        found = []
        while got := self.sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10).get("Messages"):
            for each in got:
                found.append(json.loads(each["Body"]))
                self.sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=each["ReceiptHandle"])
        return sorted(found, key=lambda each: str(each["Subject"]))

    def close(self) -> None:
        self.sns.close()
        self.sqs.close()


@pytest.fixture
def inbox(request: pytest.FixtureRequest, on_moto: Emulator) -> Iterator[Inbox]:
    inbox = Inbox(f"konf-{len(request.node.name)}x")
    yield inbox
    inbox.close()
