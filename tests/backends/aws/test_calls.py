"""Which client makes a call, what it is billed as, and what becomes of calls when nobody waits any more."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from kon.backends.aws.calls import THREADS, Calls, Client
from kon.backends.aws.failures import CallRefused
from kon.backends.aws.lean.form import Unusual
from kon.core.backend import RequestCount
from tests.backends.aws.lean.server import (
    QUEUE,
    Body,
    Peer,
    Request,
    Server,
    error,
    reply,
    saying,
    send,
    serving,
)


def on_a_server(monkeypatch: pytest.MonkeyPatch, client: Client, body: Body) -> None:
    async def whole() -> None:
        async with serving(monkeypatch) as server, asyncio.timeout(60.0):
            server.always = saying(reply(b"{}"))
            calls = Calls(client=client)
            try:
                await body(server, calls)
            finally:
                await calls.close()

    asyncio.run(whole())


def answers_when_told(server: Server) -> asyncio.Event:
    """Every answer waits for it."""
    go = asyncio.Event()

    async def wait(request: Request, peer: Peer) -> None:
        await go.wait()
        await peer.say(reply(b"{}"))

    server.always = wait
    return go


def test_boto3_makes_all_calls_where_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(server: Server, calls: Calls) -> None:
        await send(calls)
        await calls.poll("sqs", "ReceiveMessage", QueueUrl=QUEUE)
        assert len(server.requests) == 2
        assert all("amz-sdk-request" in request.headers for request in server.requests)

    on_a_server(monkeypatch, "boto3", body)


def test_boto3_makes_a_poll_that_the_lean_client_can_not(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(server: Server, calls: Calls) -> None:
        async def can_not(*_: Any) -> Any:
            raise Unusual("another form")

        monkeypatch.setattr(calls._lean, "poll", can_not)
        for _ in range(2):
            assert (await calls.poll("sqs", "ReceiveMessage", QueueUrl=QUEUE))["ResponseMetadata"]
        assert all("amz-sdk-request" in request.headers for request in server.requests)

    on_a_server(monkeypatch, "lean", body)


def test_a_count_of_the_callers_gets_the_requests() -> None:
    count = RequestCount()
    assert Calls(count=count).count is count


@pytest.mark.parametrize("client", ["lean", "boto3"])
def test_a_call_is_billed_as_what_it_is_about(monkeypatch: pytest.MonkeyPatch, client: Client) -> None:
    insert = {"Statement": "INSERT INTO t VALUE {'pk': ?}", "Parameters": [{"S": "x"}]}

    async def body(server: Server, calls: Calls) -> None:
        async def billed(service: str, operation: str, **parameters: Any) -> dict[str, float]:
            calls.count.billed.clear()
            await calls.call(service, operation, **parameters)
            return {what: n for what, n in calls.count.billed.items() if not what.startswith("bytes")}

        batch: dict[str, Any] = {"Entries": []}
        fifo = {"sqs.calls": 1, "sqs.fifo_requests": 1}
        assert await billed("sqs", "SendMessageBatch", QueueUrl=f"{QUEUE}.fifo", **batch) == fifo
        assert await billed("sqs", "GetQueueUrl", QueueName="q.fifo") == fifo
        standard = {"sqs.calls": 1, "sqs.requests": 1}
        assert await billed("sqs", "SendMessageBatch", QueueUrl=QUEUE, **batch) == standard
        server.answers = [saying(reply({"Responses": [{}, {}]}))]
        rows = await billed("dynamodb", "BatchExecuteStatement", Statements=[insert, insert])
        assert rows == {"dynamodb.calls": 1, "dynamodb.write_units": 2}

    on_a_server(monkeypatch, client, body)


def test_closing_drops_what_waits_for_a_thread_and_ends_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(server: Server, calls: Calls) -> None:
        go = answers_when_told(server)
        sent = [asyncio.create_task(send(calls)) for _ in range(THREADS + 2)]
        await server.until(lambda server: len(server.requests) == THREADS)
        await calls.close()
        go.set()
        done = await asyncio.gather(*sent, return_exceptions=True)
        assert [isinstance(each, asyncio.CancelledError) for each in done] == [False] * THREADS + [True] * 2
        await server.until(lambda server: server.ended == server.connections)
        assert len(server.requests) == THREADS

    on_a_server(monkeypatch, "boto3", body)


def test_closing_ends_idle_connections_of_boto3(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(server: Server, calls: Calls) -> None:
        await send(calls)
        await calls.close()
        await server.until(lambda server: server.ended == 1)

    on_a_server(monkeypatch, "boto3", body)


@pytest.mark.parametrize("client", ["lean", "boto3"])
def test_a_poll_that_is_refused_says_so(monkeypatch: pytest.MonkeyPatch, client: Client) -> None:
    async def body(server: Server, calls: Calls) -> None:
        server.always = saying(error("RefusedForGood"))
        with pytest.raises(CallRefused, match="RefusedForGood"):
            await calls.poll("sqs", "ReceiveMessage", QueueUrl=QUEUE)

    on_a_server(monkeypatch, client, body)


def test_a_poll_of_boto3_that_was_called_off_ends_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that ends with an error prints its traceback, and pytest tells of that."""

    async def body(server: Server, calls: Calls) -> None:
        go = answers_when_told(server)
        earlier = set(threading.enumerate())
        poll = asyncio.create_task(calls.poll("sqs", "ReceiveMessage", QueueUrl=QUEUE))
        await server.until(lambda server: len(server.requests) == 1)
        poll.cancel()
        await asyncio.wait({poll})
        assert poll.cancelled()
        go.set()
        for thread in set(threading.enumerate()) - earlier:
            if thread.name == "kon-aws-poll":
                await asyncio.to_thread(thread.join)

    on_a_server(monkeypatch, "boto3", body)


def test_a_program_that_is_ending_and_has_no_threads_tidies_up_all_the_same() -> None:
    calls = Calls()
    calls._threads = ThreadPoolExecutor(1)
    calls._threads.shutdown()
    assert calls._submit(divmod, 7, 2).result(0) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        calls._submit(divmod, 7, 0).result(0)
