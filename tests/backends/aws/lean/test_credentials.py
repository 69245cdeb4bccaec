"""Credentials: renewed when botocore renews them, and never on the event loop's own thread."""

from __future__ import annotations

import asyncio
import datetime
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.credentials import Credentials, DeferredRefreshableCredentials, RefreshableCredentials
from botocore.exceptions import CredentialRetrievalError, NoCredentialsError

from kon.backends.aws.calls import Calls
from kon.backends.aws.lean import credentials as credentials_module
from kon.backends.aws.lean.credentials import KeyRing
from kon.backends.aws.lean.signing import Keys
from tests.backends.aws.lean.server import QUEUE, serving


class Renewals:
    """Gives keys, a new number each time, that are good for so long."""

    def __init__(self, lasts_s: float) -> None:
        self.lasts_s = lasts_s
        self.threads: list[threading.Thread] = []
        self.error: Exception | None = None

    def __call__(self) -> dict[str, str]:
        self.threads.append(threading.current_thread())
        if self.error is not None:
            raise self.error
        until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=self.lasts_s)
        number = len(self.threads)
        return {
            "access_key": f"key-{number}",
            "secret_key": "secret",
            "token": f"token-{number}",
            "expiry_time": until.isoformat(),
        }

    def credentials(self) -> Any:
        return RefreshableCredentials.create_from_metadata(self(), self, "test")


@pytest.fixture(autouse=True)
def ask_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials_module, "_LOOK_S", 0.0)


def taken(ring: KeyRing, times: int = 1) -> list[str]:
    async def whole() -> list[str]:
        return [(await ring.keys()).access_key for _ in range(times)]

    return asyncio.run(whole())


def ring_of(credentials: Any) -> KeyRing:
    return KeyRing(credentials, ThreadPoolExecutor(1).submit)


def test_keys_of_a_user() -> None:
    ring = ring_of(Credentials("id", "secret"))
    assert asyncio.run(ring.keys()) == Keys("id", "secret", None)


def test_keys_that_last() -> None:
    renewals = Renewals(lasts_s=3_600)
    assert taken(ring_of(renewals.credentials()), 3) == ["key-1"] * 3


def test_keys_that_are_about_to_end_are_renewed_on_a_thread() -> None:
    renewals = Renewals(lasts_s=60)  # well within the time in which botocore wants others
    ring = ring_of(renewals.credentials())
    renewals.lasts_s = 3_600
    assert taken(ring, 3) == ["key-2"] * 3
    assert renewals.threads[1] is not threading.main_thread()


def test_keys_that_are_first_asked_for_when_they_are_needed() -> None:
    renewals = Renewals(lasts_s=3_600)
    assert taken(ring_of(DeferredRefreshableCredentials(renewals, "test")), 2) == ["key-1"] * 2
    assert renewals.threads[0] is not threading.main_thread()


def test_keys_that_can_not_be_renewed() -> None:
    renewals = Renewals(lasts_s=1)
    ring = ring_of(renewals.credentials())
    renewals.error = CredentialRetrievalError(provider="test", error_msg="down")
    with pytest.raises(CredentialRetrievalError):
        taken(ring)


def test_they_are_not_asked_for_every_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials_module, "_LOOK_S", 3_600.0)
    renewals = Renewals(lasts_s=60)
    assert taken(ring_of(renewals.credentials()), 5) == ["key-2"] * 5


def test_none() -> None:
    with pytest.raises(NoCredentialsError):
        ring_of(None)


def test_renewed_keys_sign_the_next_request(monkeypatch: pytest.MonkeyPatch) -> None:
    renewals = Renewals(lasts_s=3_600)
    credentials = renewals.credentials()
    monkeypatch.setattr("botocore.session.Session.get_credentials", lambda _: credentials)

    async def whole() -> None:
        async with serving(monkeypatch) as server:
            calls = Calls()
            for lasts_s in (3_600, 60, 3_600):
                entries = [{"Id": "5", "MessageBody": "x"}]
                await calls.call("sqs", "SendMessageBatch", QueueUrl=QUEUE, Entries=entries)
                credentials._expiry_time = datetime.datetime.now(datetime.UTC) + datetime.timedelta(
                    seconds=lasts_s
                )
            await calls.close()
            assert [request.headers["x-amz-security-token"] for request in server.requests] == [
                "token-1",
                "token-1",
                "token-2",
            ]

    asyncio.run(whole())
