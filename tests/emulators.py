"""Fixtures: Amazon's services on this machine, one server of each kind for the whole session.

`ministack` and `moto` give the server; `on_ministack` and `on_moto` also lead this process, and what it
starts, to it for one test. Names of queues, tables and buckets have to be the test's own. `inbox` is a
topic on moto, and what it is told.

Each server keeps Amazon's rules (kon.backends.emulator.strict), and this process has the rights of kon's own
policy for clients. What a test does in another's place it does by `as_anybody`.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import boto3
import msgspec
import pytest

from kon.backends.aws import things
from kon.backends.aws.policies import policy
from kon.backends.emulator import KEY_ID, Emulator, Settings, started

ANYBODY: Final = "anybody"
WORKER: Final = "kon-worker"
STRICT: Final = Settings(policies={KEY_ID: [policy("client", "*")], WORKER: [policy("worker", "*")]})


@pytest.fixture(scope="session")
def ministack() -> Iterator[Emulator]:
    with started("ministack", strict=STRICT) as emulator:
        yield emulator


@pytest.fixture(scope="session")
def moto() -> Iterator[Emulator]:
    with started("moto", strict=STRICT) as emulator:
        yield emulator


@contextmanager
def without(emulator: Emulator, *rules: str) -> Iterator[None]:
    """Some of Amazon's rules off, for a test that counts calls."""
    emulator.set_strict(msgspec.structs.replace(STRICT, off=list(rules)))
    try:
        yield
    finally:
        emulator.set_strict(STRICT)


@contextmanager
def anew(moto: Emulator, settings: Settings) -> Iterator[Emulator]:
    """The session's moto with nothing in it, under other rules, for this process and what it starts."""
    reset(moto.endpoint)
    moto.set_strict(settings)
    try:
        with moto.in_use():
            yield moto
    finally:
        moto.set_strict(STRICT)
        reset(moto.endpoint)


def reset(endpoint: str) -> None:
    """Empty an account of moto's."""
    request = urllib.request.Request(f"{endpoint}/moto-api/reset", method="POST")
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60.0) as reply:
        assert reply.status == 200


def as_anybody(service: str, **options: Any) -> Any:
    """boto3's client with rights that kon does not have, for what a test does in another's place."""
    return boto3.client(service, aws_access_key_id=ANYBODY, aws_secret_access_key=ANYBODY, **options)


@pytest.fixture
def on_ministack(ministack: Emulator, short_pauses: None) -> Iterator[Emulator]:
    with ministack.in_use():
        yield ministack


@pytest.fixture
def on_moto(moto: Emulator, short_pauses: None) -> Iterator[Emulator]:
    with moto.in_use():
        yield moto


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes its time at Amazon takes a few calls here, so that nobody has to wait long between them."""
    monkeypatch.setattr(things, "FIRST_PAUSE_S", 0.0005)


def queues_of(prefix: str) -> list[str]:
    """Names of all queues that begin so. Amazon's lists lag: only the third tells, here."""
    queues = as_anybody("sqs")
    lists = [queues.list_queues(QueueNamePrefix=prefix).get("QueueUrls", []) for _ in range(3)]
    return sorted(url.rpartition("/")[2] for url in lists[-1])


def tables_of(prefix: str) -> list[str]:
    """Names of all tables that begin so."""
    pages = as_anybody("dynamodb").get_paginator("list_tables").paginate()
    return sorted(name for page in pages for name in page["TableNames"] if name.startswith(prefix))


class Inbox:
    """A topic, and a queue that gets what it is told."""

    def __init__(self, name: str) -> None:
        self.sns, self.sqs = as_anybody("sns"), as_anybody("sqs")
        self.topic: str = self.sns.create_topic(Name=name)["TopicArn"]
        self._queue = self.sqs.create_queue(QueueName=f"{name}-inbox")["QueueUrl"]
        while True:  # a queue just made may not be known yet, there as here
            try:
                about = self.sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["QueueArn"])
                break
            except self.sqs.exceptions.QueueDoesNotExist:
                continue
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
