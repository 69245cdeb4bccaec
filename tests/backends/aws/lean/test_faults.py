"""What servers and networks do wrong, and that both clients make the same of it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar, Final, cast

import pytest

from kon.backends.aws.calls import Calls, Client
from kon.core.errors import BackendUnavailable, KonError
from tests.backends.aws.lean.server import (
    QUEUE,
    Answer,
    Peer,
    Request,
    Server,
    entries,
    error,
    reply,
    saying,
    serving,
    well,
    with_checksum,
    without_pauses,
)

Body = Callable[[Server, Calls], Coroutine[Any, Any, None]]


def send(calls: Calls, *ids: str) -> Coroutine[Any, Any, dict[str, Any]]:
    wanted = [{"Id": each, "MessageBody": "hello"} for each in ids or ("0",)]
    return calls.call("sqs", "SendMessageBatch", QueueUrl=QUEUE, Entries=wanted)


def ids(answer: dict[str, Any]) -> list[str]:
    return [each["Id"] for each in answer["Successful"]]


def on_a_server(body: Body) -> Callable[[pytest.MonkeyPatch], None]:
    """Makes a test of a coroutine function, with the lean client."""

    def test(monkeypatch: pytest.MonkeyPatch) -> None:
        async def whole() -> None:
            async with serving(monkeypatch) as server, asyncio.timeout(60.0):
                calls = Calls()
                try:
                    await body(server, calls)
                finally:
                    await calls.close()

        without_pauses(monkeypatch)
        asyncio.run(whole())

    test.__name__ = body.__name__
    test.__doc__ = body.__doc__
    return test


# --- the same as boto3 ----------------------------------------------------------------------------------

HALF: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"


def hang_up(peer: Peer) -> None:
    peer.hang_up()


def reset(peer: Peer) -> None:
    peer.reset()


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


@pytest.mark.parametrize("body", [b"[]", b'"words"', b"\xff", b'{"__type": 7}', b"null"])
def test_an_error_that_says_nothing(monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    async def test(server: Server, calls: Calls) -> None:
        server.always = saying(reply(body, 400))
        with pytest.raises(KonError, match=r"SQS refuses SendMessageBatch on q: 400"):
            await send(calls)
        assert len(server.requests) == 1

    on_a_server(test)(monkeypatch)


# --- connections ----------------------------------------------------------------------------------------


@on_a_server
async def test_connections_are_kept(server: Server, calls: Calls) -> None:
    for _ in range(5):
        await send(calls)
    await asyncio.gather(*[send(calls, str(n)) for n in range(3)])
    for _ in range(5):
        await asyncio.gather(*[send(calls, str(n)) for n in range(3)])
    assert server.connections <= 3


@on_a_server
async def test_calls_in_flight_are_limited_and_polls_are_not(server: Server, calls: Calls) -> None:
    go = asyncio.Event()

    async def wait(request: Request, peer: Peer) -> None:
        await go.wait()
        await peer.say(entries(request) if b"Entries" in request.body else reply(b"{}"))

    server.always = wait
    sent = [asyncio.create_task(send(calls, str(n))) for n in range(40)]
    await server.until(lambda server: len(server.requests) == 16)
    poll = asyncio.create_task(calls.poll("sqs", "ReceiveMessage", QueueUrl=QUEUE))
    await server.until(lambda server: len(server.requests) == 17)
    go.set()
    assert [ids(each) for each in await asyncio.gather(*sent)] == [[str(n)] for n in range(40)]
    assert await poll == {}
    assert server.connections == 17


@on_a_server
async def test_a_connection_that_ended_while_idle_is_not_used(server: Server, calls: Calls) -> None:
    server.answers = [closing_afterwards]
    await send(calls)
    await server.until(lambda server: server.ended == 1)
    for _ in range(3):
        await asyncio.sleep(0)
    assert ids(await send(calls, "2")) == ["2"]
    assert [request.connection for request in server.requests] == [1, 2]
    assert calls.count.made == 2


async def closing_afterwards(request: Request, peer: Peer) -> None:
    """Without saying so."""
    await peer.say(entries(request))
    peer.hang_up()


@pytest.mark.parametrize("end", [hang_up, reset])
def test_a_kept_connection_that_ends_at_the_request(
    monkeypatch: pytest.MonkeyPatch, end: Callable[[Peer], None]
) -> None:
    """It is sent again at once, on a new connection; that counts, but is no attempt."""

    async def body(server: Server, calls: Calls) -> None:
        await send(calls)
        # a fresh connection that ends so is an attempt each
        server.answers = [saying(then=end)] * 5
        assert ids(await send(calls, "2")) == ["2"]
        assert [request.connection for request in server.requests] == [1, 1, 2, 3, 4, 5, 6]
        assert calls.count.made == calls.count.billed["sqs.requests"] == 7

    on_a_server(body)(monkeypatch)


@on_a_server
async def test_bytes_that_nobody_asked_for_end_the_connection(server: Server, calls: Calls) -> None:
    async def twice(request: Request, peer: Peer) -> None:
        await peer.say(entries(request))
        await asyncio.sleep(0.05)
        await peer.say(reply({"Successful": [{"Id": "another's"}]}))

    server.answers = [twice]
    await send(calls)
    await server.until(lambda server: server.ended == 1)
    assert ids(await send(calls, "2")) == ["2"]
    assert server.requests[-1].connection == 2


class Hasty(asyncio.Protocol):
    """Refuses a request as soon as it begins, and reads no more of it."""

    made: ClassVar[list[asyncio.Transport]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.made.append(self.transport)

    def data_received(self, data: bytes) -> None:
        self.transport.pause_reading()
        self.transport.write(error("InvalidMessageContents"))


def test_a_reply_that_came_before_the_request_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left of the request would be taken for another."""

    async def whole() -> None:
        async with serving(monkeypatch), asyncio.timeout(60.0):
            server = await asyncio.get_running_loop().create_server(Hasty, "127.0.0.1", 0)
            port = server.sockets[0].getsockname()[1]
            monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
            calls = Calls()
            for _ in range(2):
                with pytest.raises(KonError, match="InvalidMessageContents"):
                    await calls.call("sqs", "ReceiveMessage", QueueUrl="x" * (32 << 20))
            assert len(Hasty.made) == calls.count.made == 2
            for transport in Hasty.made:
                transport.abort()
            await calls.close()
            server.close()
            await server.wait_closed()

    Hasty.made.clear()
    asyncio.run(whole())


@on_a_server
async def test_a_cancelled_calls_connection_is_closed(server: Server, calls: Calls) -> None:
    late = asyncio.Event()

    async def after_a_while(request: Request, peer: Peer) -> None:
        await late.wait()
        await peer.say(entries(request))

    server.answers = [after_a_while]
    call = asyncio.create_task(send(calls, "cancelled"))
    await server.until(lambda server: len(server.requests) == 1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    late.set()
    assert ids(await send(calls, "2")) == ["2"]
    await server.until(lambda server: server.ended == 1)
    assert server.requests[-1].connection == 2


@on_a_server
async def test_no_reply_meets_another_request(server: Server, calls: Calls) -> None:
    """Cancelled, cut and late at random."""
    rng = random.Random(5)

    async def any_way(request: Request, peer: Peer) -> None:
        whole = entries(request)
        cut = rng.randrange(len(whole))
        await peer.say(whole[:cut])
        await asyncio.sleep(rng.choice([0, 0, 0.001, 0.003]))
        if rng.random() < 0.1:
            peer.hang_up()
        else:
            await peer.say(whole[cut:])

    async def one(name: str) -> bool:
        try:
            async with asyncio.timeout(rng.choice([None, None, 0.002, 0.005])):
                assert ids(await send(calls, name, "x")) == [name, "x"]
        except TimeoutError:
            return False
        return True

    server.always = any_way
    await send(calls)
    done: list[bool] = []
    for some in range(40):
        done += await asyncio.gather(*[one(f"{some}-{n}") for n in range(8)])
    assert done.count(True) > 40
    assert done.count(False) > 10


@pytest.mark.parametrize("said", [b"", HALF])
def test_a_server_that_never_answers(monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
    """Nor goes on."""

    async def whole() -> None:
        async with serving(monkeypatch) as server, asyncio.timeout(60.0):
            server.always = saying(said)
            calls = Calls()
            calls._lean._read_s = 0.1
            with pytest.raises(BackendUnavailable, match="SendMessageBatch: Read timeout on endpoint URL"):
                await send(calls)
            assert len(server.requests) == 5
            await server.until(lambda server: server.ended == 5)
            await calls.close()

    without_pauses(monkeypatch)
    asyncio.run(whole())


@on_a_server
async def test_a_large_request_and_reply(server: Server, calls: Calls) -> None:
    async def echo(request: Request, peer: Peer) -> None:
        await peer.say(reply({"Messages": [{"Body": request.body.decode()}]}))

    server.always = echo
    large = "\u00e4" * 500_000
    answer = await calls.call("sqs", "ReceiveMessage", QueueUrl=large)
    assert large in answer["Messages"][0]["Body"]


@on_a_server
async def test_closing_ends_connections_with_the_calls_under_way(server: Server, calls: Calls) -> None:
    go = asyncio.Event()

    async def wait(request: Request, peer: Peer) -> None:
        await go.wait()
        await peer.say(entries(request))

    await asyncio.gather(send(calls), send(calls))
    server.answers = [wait]
    call = asyncio.create_task(send(calls, "late"))
    await server.until(lambda server: len(server.requests) == 3)
    await calls.close()
    go.set()
    assert ids(await call) == ["late"]
    await server.until(lambda server: server.ended == server.connections)
