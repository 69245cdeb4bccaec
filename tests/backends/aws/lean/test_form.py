"""What is learnt from botocore, and what makes boto3 do all calls."""

from __future__ import annotations

import asyncio
import json
import logging
from types import SimpleNamespace
from typing import Any, Final

import botocore.credentials
import pytest
from botocore.awsrequest import AWSPreparedRequest

from kon.backends.aws.calls import Calls, Client
from kon.backends.aws.clients import Clients
from kon.backends.aws.lean import Lean, Unusual
from kon.backends.aws.lean.form import form_of
from kon.backends.aws.lean.signing import Keys
from tests.backends.aws.lean.server import QUEUE, lead_to, serving

PARAMETERS: Final = {"QueueUrl": QUEUE, "Entries": [{"Id": "0", "MessageBody": "hello"}]}


async def call(calls: Calls) -> dict[str, Any]:
    return await calls.call("sqs", "SendMessageBatch", **PARAMETERS)


def sent_by(client: Client, environment: pytest.MonkeyPatch, path: str = "") -> dict[str, Any]:
    """What the server sees of a call, but for what is new each time."""

    async def whole() -> dict[str, Any]:
        async with serving(environment, path=path) as server:
            calls = Calls(client=client)
            await call(calls)
            await calls.close()
            (request,) = server.requests
            headers = dict(request.headers)
            for name in ("amz-sdk-invocation-id", "amz-sdk-request", "accept-encoding", "connection"):
                headers.pop(name, None)
            port = server.url.split(":")[2].partition("/")[0]
            headers["host"] = headers["host"].replace(port, "PORT")
            for name in ("authorization", "x-amz-date", "content-length"):
                headers[name] = headers[name].partition("Signature=")[0][: 0 if name[0] in "xc" else None]
            headers["user-agent"] = headers["user-agent"].split(" m/")[0]
            return {"path": request.path, "headers": headers, "body": json.loads(request.body)}

    return asyncio.run(whole())


@pytest.mark.parametrize("path", ["", "/some/path", "/a-b/c_d.e~/"])
@pytest.mark.parametrize("token", [None, "a-token"])
def test_it_sends_what_boto3_sends(monkeypatch: pytest.MonkeyPatch, path: str, token: str | None) -> None:
    lead_to(monkeypatch, "")
    original = monkeypatch.delenv

    def keep(name: str, raising: bool = True) -> None:
        if name != "AWS_SESSION_TOKEN" or token is None:
            original(name, raising)

    monkeypatch.setattr(monkeypatch, "delenv", keep)
    if token is not None:
        monkeypatch.setenv("AWS_SESSION_TOKEN", token)
    lean = sent_by("lean", monkeypatch, path)
    assert lean == sent_by("boto3", monkeypatch, path)
    assert lean["headers"].get("x-amz-security-token") == token


def test_it_is_the_lean_client_that_sends(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests of this folder would pass without it."""
    made: list[str] = []
    original = Lean.poll

    async def noted(lean: Lean, service: str, operation: str, *rest: Any) -> dict[str, Any]:
        made.append(operation)
        return await original(lean, service, operation, *rest)

    monkeypatch.setattr(Lean, "poll", noted)
    sent_by("lean", monkeypatch)
    assert made == ["SendMessageBatch"]
    sent_by("boto3", monkeypatch)
    assert made == ["SendMessageBatch"]


# --- what makes boto3 do it -----------------------------------------------------------------------------


def refusal(environment: pytest.MonkeyPatch, log: pytest.LogCaptureFixture) -> str:
    """Why a call was made by boto3; it must have been made."""

    async def whole() -> None:
        async with serving(environment) as server:
            calls = Calls()
            await asyncio.gather(call(calls), call(calls))
            await call(calls)
            assert all("amz-sdk-request" in request.headers for request in server.requests)
            assert calls.count.made == len(server.requests) == 3
            await calls.close()

    with log.at_level(logging.WARNING, "kon"):
        asyncio.run(whole())
    (record,) = [each for each in log.records if each.name.startswith("kon")]
    assert "from here on boto3 makes all calls" in record.getMessage()
    return record.getMessage()


def test_a_proxy(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    async def whole() -> None:
        async with serving(monkeypatch) as proxy:
            port = proxy.url.rpartition(":")[2]
            lead_to(monkeypatch, "http://queues.example.com")
            monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
            monkeypatch.setenv("no_proxy", "")
            monkeypatch.setenv("NO_PROXY", "")
            calls = Calls()
            await call(calls)
            await calls.close()
            assert [request.path for request in proxy.requests] == ["http://queues.example.com/"]

    with caplog.at_level(logging.WARNING, "kon"):
        asyncio.run(whole())
    assert "there is a proxy for queues.example.com: from here on boto3" in caplog.text


class OtherCredentials(botocore.credentials.Credentials):  # type: ignore[misc]
    """Of a kind that nobody knows yet."""


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"url": "http://127.0.0.1/?a=b"}, "not a plain one"),
        ({"url": "http://127.0.0.1/a%20b"}, "not a plain one"),
        ({"url": "http://user@127.0.0.1/"}, "not a plain one"),
        ({"url": "ftp://127.0.0.1/"}, "not a plain one"),
        ({"method": "GET"}, "does not speak JSON"),
        ({"content-type": "application/cbor"}, "does not speak JSON"),
        ({"x-new": "1"}, "sends the header x-new"),
        ({"authorization": "Bearer abc"}, "not signed by Signature Version 4"),
        ({"authorization": "AWS4-ECDSA-P256-SHA256 Credential=a"}, "not signed by Signature Version 4"),
        ({"x-amz-date": "20200101T000000Z"}, "signature of a request is another"),
        ({"body": b"{}"}, "signature of a request is another"),
    ],
)
def test_requests_that_are_not_as_expected(clients: Clients, changed: dict[str, Any], said: str) -> None:
    shown = clients.show("sqs", "SendMessageBatch", PARAMETERS)
    keys = Keys("test", "secret", None)
    headers = {name.lower(): value for name, value in shown.headers.items()}
    parts = {"method": shown.method, "url": shown.url, "body": shown.body}
    form_of(SimpleNamespace(**parts, headers=headers), PARAMETERS, keys)
    for name, value in changed.items():
        (parts if name in parts else headers)[name] = value
    with pytest.raises(Unusual, match=said):
        form_of(SimpleNamespace(**parts, headers=headers), PARAMETERS, keys)


def test_a_body_that_botocore_writes_in_another_way(clients: Clients) -> None:
    shown: AWSPreparedRequest = clients.show("sqs", "SendMessageBatch", PARAMETERS)
    with pytest.raises(Unusual, match="body of a request in another way"):
        form_of(shown, {**PARAMETERS, "QueueUrl": "another"}, Keys("test", "secret", None))


def test_other_credentials(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(
        "botocore.session.Session.get_credentials", lambda _: OtherCredentials("test", "secret")
    )
    assert refusal(monkeypatch, caplog).startswith("credentials are a OtherCredentials")
