"""From simulated requests to what would be billed."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import pytest

from kon.core.task import Bundle, Task, encode
from kon.launch.simulated.billing import billed, message_bytes
from tests.report.made import spec

KB64 = 65_536


def of(
    calls: Mapping[str, float],
    items: Mapping[str, float] | None = None,
    sent_bytes: float = 0,
    fifo: bool = False,
) -> dict[str, float]:
    return billed(calls, items or {}, message_bytes=sent_bytes, request_bytes=KB64, fifo=fifo)


def test_queues() -> None:
    calls = {"tasks queue.send": 10, "answers queue.receive": 4, "dead queue.depth": 1}
    assert of(calls) == {"sqs.requests": 15, "sqs.calls": 15}
    assert of(calls, fifo=True) == {"sqs.fifo_requests": 11, "sqs.requests": 4, "sqs.calls": 15}


def test_large_messages_count_where_they_are_carried() -> None:
    calls = {
        "tasks queue.send": 10,
        "tasks queue.receive": 10,
        "tasks queue.ack": 10,
        "answers queue.send": 1,
    }
    assert of(calls, sent_bytes=100 * KB64)["sqs.requests"] == 100 + 100 + 10 + 1


def test_tables_by_item() -> None:
    calls = {"ledger ledger.insert_new": 4, "control ledger.read": 2, "ledger ledger.scan": 1}
    items = {"ledger ledger.insert_new": 100.0, "control ledger.read": 6.0, "ledger ledger.scan": 20.0}
    assert of(calls, items) == {
        "dynamodb.write_units": 100,
        "dynamodb.read_units": 13,
        "dynamodb.calls": 7,
    }


def test_objects_and_links_which_are_free() -> None:
    calls = {"objects objects.put": 3, "objects objects.get": 2, "objects objects.url": 9}
    assert of(calls) == {"s3.put_requests": 3, "s3.get_requests": 2, "s3.calls": 5}


@pytest.mark.parametrize("bundle", [1, 100])
def test_messages_are_about_as_large_as_they_are(bundle: int) -> None:
    run = spec(1_000, bundle=bundle)
    body = "x" * 200
    whole = len(encode(Bundle(run.run, [Task(index, body) for index in range(bundle)])))
    assert message_bytes(run, len(msgspec.json.encode(body)), bundle) == pytest.approx(whole, rel=0.05)
