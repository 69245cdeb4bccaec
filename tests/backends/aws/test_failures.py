"""Amazon's errors in kon's words: one clear line, and whether asking again may help."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from kon.backends.aws import AwsBackend
from kon.backends.aws.calls import Calls
from kon.backends.aws.failures import CallRefused, in_kons_words
from kon.core.errors import BackendRefused, BackendUnavailable, ConfigurationError, KonError
from tests.answering import Answer, Answering, Asked, answering


def said(code: str, message: str = "", status: int = 400, operation: str = "SendMessage") -> KonError:
    response = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    told = in_kons_words(ClientError(response, operation), "sqs", operation, "kon-r-tasks")
    assert told is not None
    assert told.exit_code == 3
    assert "\n" not in str(told)
    return told


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("ThrottlingException", 400),
        ("ProvisionedThroughputExceededException", 400),
        ("SlowDown", 503),
        ("RequestThrottled", 403),
        ("InternalFailure", 500),
        ("ServiceUnavailable", 503),
        ("", 502),
        ("RequestTimeout", 400),
        ("OverLimit", 403),
    ],
)
def test_what_may_pass_is_tried_again(code: str, status: int) -> None:
    assert isinstance(said(code, status=status), BackendUnavailable)


@pytest.mark.parametrize(
    ("code", "message", "status", "text"),
    [
        (
            "AccessDenied",
            "User: arn:aws:iam::1:user/x is not authorized to perform: sqs:sendmessage on resource: "
            "arn:aws:sqs:us-east-1:1:kon-r-tasks because no identity-based policy allows it",
            403,
            "may not call sqs:sendmessage on arn:aws:sqs:us-east-1:1:kon-r-tasks. Add the action",
        ),
        ("AccessDenied", "Access Denied", 403, "may not call sqs:SendMessage on kon-r-tasks. Add the action"),
        ("403", "Forbidden", 403, "may not call sqs:SendMessage on kon-r-tasks"),
        ("InvalidClientTokenId", "not valid", 403, "does not accept the AWS credentials"),
        ("ExpiredToken", "expired", 400, "does not accept the AWS credentials"),
        (
            "InvalidSignatureException",
            "Signature expired: 20261120T100000Z is now earlier than 20261120T101000Z",
            403,
            "this host's clock is wrong",
        ),
        ("RequestTimeTooSkewed", "too large", 403, "this host's clock is wrong"),
        ("AWS.SimpleQueueService.NonExistentQueue", "gone", 400, "no such queue as kon-r-tasks"),
        ("InvalidAddress", "odd", 400, "refuses SendMessage on kon-r-tasks: InvalidAddress odd"),
    ],
)
def test_what_will_not_pass_is_refused(code: str, message: str, status: int, text: str) -> None:
    told = said(code, message, status)
    assert isinstance(told, CallRefused)
    assert text in str(told)
    assert told.code == code


def test_a_fault_of_kons_own_keeps_its_traceback() -> None:
    assert in_kons_words(KeyError("x"), "sqs", "SendMessage", "") is None


@pytest.fixture
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """An environment in which boto3 finds nothing."""
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "nothing"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def error_of_opening(**options: Any) -> KonError:
    async def main() -> KonError:
        backend = AwsBackend(options)
        with pytest.raises(KonError) as caught:
            await backend.open("r")
        await backend.close()
        return caught.value

    earlier = set(threading.enumerate())  # other tests' backends have threads too, which stay
    error = asyncio.run(main())
    # Nobody waits for what a closed backend has under way. It would make its clients in the next test's
    # environment, and take the answers of that test's server.
    for thread in set(threading.enumerate()) - earlier:
        if thread.name.startswith("kon-aws"):
            thread.join()
    return error


def test_no_credentials(no_settings: pytest.MonkeyPatch) -> None:
    error = error_of_opening(region="us-east-1")
    assert isinstance(error, BackendRefused)
    assert error.exit_code == 3
    assert "no AWS credentials" in str(error)
    assert "aws sso login" in str(error)


def test_a_profile_that_is_not_there(no_settings: pytest.MonkeyPatch) -> None:
    no_settings.setenv("AWS_PROFILE", "nobody")
    assert "no AWS credentials that can be used (The config profile (nobody)" in str(error_of_opening())


def test_no_region(no_settings: pytest.MonkeyPatch) -> None:
    error = error_of_opening()
    assert isinstance(error, BackendRefused)
    assert "Set AWS_DEFAULT_REGION" in str(error)


def with_keys(environment: pytest.MonkeyPatch, endpoint: str) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        environment.setenv(name, "test")
    environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
    environment.setenv("AWS_ENDPOINT_URL", endpoint)


def test_an_endpoint_that_is_none(no_settings: pytest.MonkeyPatch) -> None:
    with_keys(no_settings, "not a url")
    error = error_of_opening()
    assert isinstance(error, ConfigurationError)
    assert "AWS_ENDPOINT_URL" in str(error)


# --- what is sent, and counted ------------------------------------------------------------------------


def one_by_one(*statuses: int) -> Answering:
    """These answers, one after the other, and the last one for ever."""
    left = list(statuses)

    def answer(asked: Asked) -> Answer:
        status = left.pop(0) if len(left) > 1 else left[0]
        return Answer(status, b'{"QueueUrl": "http://x/1/q"}' if status == 200 else b"{}")

    return answer


async def url_of_a_queue(calls: Calls) -> dict[str, Any]:
    try:
        return await calls.call("sqs", "GetQueueUrl", QueueName="q")
    finally:
        await calls.close()


def test_retries_are_made_and_counted(no_settings: pytest.MonkeyPatch) -> None:
    with answering(one_by_one(500, 503, 200)) as endpoint:
        with_keys(no_settings, endpoint)
        calls = Calls()
        assert asyncio.run(url_of_a_queue(calls))["QueueUrl"] == "http://x/1/q"
    assert calls.count.made == 3
    assert calls.count.billed["sqs.requests"] == 3


def test_a_service_that_stays_in_trouble_is_unavailable(no_settings: pytest.MonkeyPatch) -> None:
    with answering(one_by_one(500)) as endpoint:
        with_keys(no_settings, endpoint)
        calls = Calls()
        with pytest.raises(BackendUnavailable, match="SQS is in trouble"):
            asyncio.run(url_of_a_queue(calls))
    assert calls.count.made == 5


def test_a_call_needs_no_new_thread_where_none_can_be_started(
    no_settings: pytest.MonkeyPatch, on_ministack: object
) -> None:
    """A program that is ending tidies up all the same."""

    async def main() -> None:
        calls = Calls()
        await calls.call("sts", "GetCallerIdentity")
        assert calls._threads is not None
        calls._threads.shutdown()
        assert "Account" in await calls.call("sts", "GetCallerIdentity")
        await calls.close()

    asyncio.run(main())
