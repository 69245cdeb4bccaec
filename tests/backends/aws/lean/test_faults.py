"""What servers and networks do wrong, and that both clients make the same of it."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Any, Final
from unittest.mock import Mock

import pytest
from botocore.retries.standard import ExponentialBackoff

from kon.backends.aws.calls import Calls, Client
from kon.backends.aws.failures import CallRefused
from kon.backends.aws.lean.retries import Rules
from kon.core.errors import BackendUnavailable, KonError
from tests.backends.aws.lean.server import (
    HALF,
    Answer,
    Peer,
    Request,
    Server,
    entries,
    error,
    hang_up,
    ids,
    on_a_server,
    reply,
    reset,
    saying,
    send,
    serving,
    well,
    with_checksum,
    without_pauses,
)

# --- the same as boto3 ----------------------------------------------------------------------------------


async def slowly(request: Request, peer: Peer) -> None:
    whole = entries(request)
    for at in range(0, len(whole), 7):
        await peer.say(whole[at : at + 7])
        await asyncio.sleep(0)


async def chunked(request: Request, peer: Peer) -> None:
    _, _, body = entries(request).partition(b"\r\n\r\n")
    pieces = [b"%x\r\n%b\r\n" % (len(body[at : at + 9]), body[at : at + 9]) for at in range(0, len(body), 9)]
    await peer.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", *pieces, b"0\r\n\r\n")


async def interim_first(request: Request, peer: Peer) -> None:
    await peer.say(b"HTTP/1.1 100 Continue\r\n\r\n", entries(request))


async def closing(request: Request, peer: Peer) -> None:
    await peer.say(entries(request).replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
    peer.hang_up()


async def up_to_the_end(request: Request, peer: Peer) -> None:
    _, _, body = entries(request).partition(b"\r\n\r\n")
    await peer.say(b"HTTP/1.1 200 OK\r\n\r\n", body)
    peer.hang_up()


FAULTS: Final[dict[str, Answer]] = {
    "well": well,
    "slowly": slowly,
    "in chunks": chunked,
    "interim first": interim_first,
    "closing": closing,
    "up to the end": up_to_the_end,
    "500": saying(reply(b"", 500)),
    "502 in HTML": saying(reply(b"<html>Bad Gateway</html>", 502)),
    "503": saying(error("ServiceUnavailable", 503)),
    "504 in words": saying(reply(b"late", 504)),
    "501": saying(reply(b"", 501)),
    "InternalFailure, 400": saying(error("InternalFailure")),
    "throttled": saying(error("RequestThrottled")),
    "throttled, with a namespace": saying(error("ThrottlingException:http://aws/")),
    "slow down": saying(error("SlowDown", 503)),
    "timed out there": saying(error("RequestTimeout", 408)),
    "old name of an error": saying(
        error("QueueDoesNotExist", x_amzn_query_error="AWS.SimpleQueueService.NonExistentQueue;Sender")
    ),
    "throttled by its old name": saying(
        error("RequestThrottled", x_amzn_query_error="ThrottlingException;Sender")
    ),
    "denied": saying(
        error("AccessDenied", 403, "User: u is not authorized to perform: sqs:sendmessage on resource: r")
    ),
    "skewed": saying(error("InvalidSignatureException", 403, "Signature expired: 1 is now earlier than 2")),
    "expired": saying(error("ExpiredTokenException", 403)),
    "refused": saying(error("InvalidMessageContents")),
    "an error in words": saying(reply(b"what?", 400)),
    "an error without a body": saying(reply(b"", 400)),
    "moved": saying(reply(b"", 301, Location="http://elsewhere/")),
    "a wrong checksum of an error": saying(error("RefusedForGood", x_amz_crc32="1")),
    "hung up": saying(then=hang_up),
    "reset": saying(then=reset),
    "half, hung up": saying(HALF, then=hang_up),
    "half, reset": saying(HALF, then=reset),
    "garbage": saying(b"what's that?\r\n\r\n", then=hang_up),
}


async def outcome(calls: Calls, server: Server) -> tuple[Any, ...]:
    """What a call came to, in how many requests, and what they are billed at."""
    calls.count.made, server.requests[:] = 0, []
    calls.count.billed.clear()
    try:
        answer: Any = ids(await send(calls, "7", "8"))
    except KonError as told:
        # what is said of a broken connection is each client's own
        words = str(told) if "does not answer" not in str(told) else "no answer"
        answer = (type(told).__name__, words, getattr(told, "code", None), getattr(told, "status", None))
    assert calls.count.made == len(server.requests)
    billed = {what: n for what, n in calls.count.billed.items() if not what.startswith("bytes")}
    return answer, len(server.requests), billed


@pytest.mark.parametrize("for_ever", [False, True], ids=["once", "for ever"])
def test_both_clients_make_the_same_of_it(monkeypatch: pytest.MonkeyPatch, for_ever: bool) -> None:
    """Each fault once, and each for ever: the same replies, errors, requests and bills."""

    async def whole(client: Client) -> dict[str, Any]:
        async with serving(monkeypatch) as server, asyncio.timeout(90.0):
            calls = Calls(client=client)
            found = {}
            for name, fault in FAULTS.items():
                server.answers = [closing]  # a kept connection that ends is another matter
                await send(calls)
                server.answers = [fault] * (9 if for_ever else 1)
                found[name] = await outcome(calls, server)
                server.answers = []
            await calls.close()
            return found

    without_pauses(monkeypatch)
    lean, boto3 = asyncio.run(whole("lean")), asyncio.run(whole("boto3"))
    assert lean == boto3
    wrong = {name for name, (answer, *_) in lean.items() if answer != ["7", "8"]}
    fine = {"well", "slowly", "in chunks", "interim first", "closing", "up to the end"}
    assert (fine & wrong) == set()
    if for_ever:
        assert wrong == FAULTS.keys() - fine
        assert lean["500"][1] == 5


def test_they_share_one_budget_for_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that stays in trouble gets no five attempts for ever."""

    async def whole(client: Client) -> list[int]:
        async with serving(monkeypatch) as server, asyncio.timeout(60.0):
            calls = Calls(client=client)
            server.always, made = saying(reply(b"", 500)), []
            for _ in range(30):
                made.append((await outcome(calls, server))[1])
            server.always = well
            for _ in range(20):
                await send(calls)
            server.always = saying(reply(b"", 500))
            made.append((await outcome(calls, server))[1])
            await calls.close()
            return made

    without_pauses(monkeypatch)
    lean = asyncio.run(whole("lean"))
    assert lean[0] == 5
    assert lean[-2:] == [1, 5]
    assert lean == asyncio.run(whole("boto3"))


@pytest.mark.parametrize("client", ["lean", "boto3"])
def test_attempts_are_as_far_apart_as_botocore_says(monkeypatch: pytest.MonkeyPatch, client: Client) -> None:
    async def whole() -> None:
        async with serving(monkeypatch) as server, asyncio.timeout(60.0):
            calls, came_s = Calls(client=client), list[float]()

            async def down(request: Request, peer: Peer) -> None:
                came_s.append(time.monotonic())
                await peer.say(reply(b"", 500))

            server.always = down
            with pytest.raises(BackendUnavailable):
                await send(calls)
            assert len(came_s) == 5
            assert min(later - sooner for sooner, later in itertools.pairwise(came_s)) > 0.04
            await calls.close()

    monkeypatch.setattr(ExponentialBackoff, "delay_amount", lambda *_: 0.05)
    asyncio.run(whole())


# --- where it is stricter, or kinder --------------------------------------------------------------------


@pytest.mark.parametrize(
    "damaged",
    [b"{", b"[]", b'"words"', b"\xff", b'{"Successful": 1}', b"<html></html>"],
)
def test_a_damaged_reply_is_asked_for_again(monkeypatch: pytest.MonkeyPatch, damaged: bytes) -> None:
    async def body(server: Server, calls: Calls) -> None:
        server.answers = [saying(reply(damaged))]
        assert ids(await send(calls, "4")) == ["4"]
        assert len(server.requests) == calls.count.made == 2
        server.always = saying(reply(damaged))
        with pytest.raises(BackendUnavailable, match="SQS does not answer SendMessageBatch"):
            await send(calls)

    on_a_server(body)(monkeypatch)


@on_a_server
async def test_what_is_no_reply_is_not_waited_for_any_longer(server: Server, calls: Calls) -> None:
    """The server leaves the connection open."""
    server.always = saying(b"what's that?\r\n\r\n")
    with pytest.raises(BackendUnavailable):
        async with asyncio.timeout(15.0):
            await send(calls)
    assert len(server.requests) == 5


@on_a_server
async def test_half_a_head_is_no_reply(server: Server, calls: Calls) -> None:
    """boto3 takes it for an empty one."""
    server.answers = [saying(HALF[:20], then=hang_up)]
    assert ids(await send(calls, "4")) == ["4"]
    assert len(server.requests) == 2


@on_a_server
async def test_a_wrong_checksum(server: Server, calls: Calls) -> None:
    """DynamoDB sends one, so that a reply that was cut or changed on its way is known."""
    body = b'{"Responses": [{}]}'
    server.answers = [saying(with_checksum(body, right=False)), saying(with_checksum(body))]
    answer = await calls.call("dynamodb", "BatchExecuteStatement", Statements=[{"Statement": "x"}])
    assert answer == {"Responses": [{}]}
    assert len(server.requests) == 2


@on_a_server
async def test_an_error_whose_code_is_in_a_header(server: Server, calls: Calls) -> None:
    throttled = reply(b"{}", 400, x_amzn_ErrorType="com.amazonaws#ThrottlingException:http://x/")
    server.answers = [saying(throttled)]
    assert ids(await send(calls)) == ["0"]
    server.always = saying(throttled)
    with pytest.raises(BackendUnavailable, match="SQS is asked for too much at a time"):
        await send(calls)


@on_a_server
async def test_an_error_whose_code_is_in_the_body_too(server: Server, calls: Calls) -> None:
    """The body's counts, as for botocore."""
    server.always = saying(
        reply({"__type": "com.amazonaws#Inner", "message": "no"}, 400, x_amzn_ErrorType="Outer")
    )
    with pytest.raises(CallRefused) as told:
        await send(calls)
    assert told.value.code == "Inner"


@pytest.mark.parametrize("body", [b"[]", b'"words"', b"\xff", b'{"__type": 7}', b"null"])
def test_an_error_that_says_nothing(monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    async def test(server: Server, calls: Calls) -> None:
        server.always = saying(reply(body, 400))
        with pytest.raises(CallRefused, match=r"SQS refuses SendMessageBatch on q: 400") as told:
            await send(calls)
        assert told.value.code == "400"
        assert len(server.requests) == 1
        server.always = saying(reply(body, 400, x_amzn_ErrorType="Odd"))
        with pytest.raises(CallRefused) as told:
            await send(calls)
        assert told.value.code == "Odd"

    on_a_server(test)(monkeypatch)


@pytest.mark.parametrize(("verdict", "pause_s"), [(None, None), (False, None), (0, 0.0), (0.5, 0.5)])
def test_a_retry_is_made_where_botocore_says_how_long_to_wait(
    verdict: float | None, pause_s: float | None
) -> None:
    """False is its word for: not again, whatever other handlers say."""
    client = Mock(**{"meta.events.emit.return_value": [("handler", verdict)]})
    assert Rules(client, "SendMessageBatch").pause_s(1, {}, None, {}, TimeoutError()) == pause_s
