"""boto3's errors in kon's words."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest

from kon.backends.aws.calls import Calls
from kon.core.errors import BackendUnavailable


@pytest.fixture
def nobody_listens(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setattr("kon.backends.aws.clients.ATTEMPTS", 1)
    with socket.socket() as bound:  # bound, and so nobody else's, but it doesn't listen
        bound.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{bound.getsockname()[1]}")
        yield


@pytest.mark.usefixtures("nobody_listens")
def test_an_endpoint_that_is_down_may_come_back() -> None:
    async def body() -> None:
        calls = Calls()
        try:
            with pytest.raises(BackendUnavailable, match="SQS does not answer ListQueues: Could not connect"):
                await calls.call("sqs", "ListQueues")
        finally:
            await calls.close()

    asyncio.run(body())
