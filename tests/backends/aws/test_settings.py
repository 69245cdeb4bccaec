"""AWS settings as people have them: what boto3 can't use ends in one line, and links name their region."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from botocore import exceptions

from kon.backends.aws.calls import Calls
from kon.backends.aws.failures import in_kons_words
from kon.core.errors import BackendRefused, BackendUnavailable, KonError


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings but the test's own."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")


def refused() -> KonError:
    async def call() -> None:
        calls = Calls(client="boto3")
        try:
            await calls.call("sts", "GetCallerIdentity")
        finally:
            await calls.close()

    with pytest.raises(KonError) as raised:
        asyncio.run(call())
    return raised.value


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ("[profile p]\nlogin_session = arn:aws:iam::1:user/u\n", "export-credentials"),
        ("[profile p]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = none\n", "none"),
        ("[profile p\n", "config"),
        ("[profile p]\ncredential_process = /bin/false\n", "credentials"),
        ("[profile q]\n", "p"),
        ("[profile p]\nsso_session = gone\nsso_account_id = 1\nsso_role_name = r\n", "gone"),
    ],
    ids=["login", "no source", "broken file", "process", "no profile", "no sso session"],
)
def test_a_profile_that_can_not_be_used_is_told_in_a_line(
    config: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").write_text(config)
    monkeypatch.setenv("AWS_PROFILE", "p")
    error = refused()
    assert isinstance(error, BackendRefused)
    assert error.exit_code == 3
    assert says in str(error)
    assert "\n" not in str(error)
    assert "check the network" not in str(error)


def test_every_error_of_botocores_is_told() -> None:
    """A class that a later botocore brings, too."""

    class News(exceptions.BotoCoreError):  # type: ignore[misc]
        fmt = "something new"

    told = in_kons_words(News(), "sqs", "SendMessage", "")
    assert isinstance(told, BackendRefused)
    assert "something new" in str(told)


def test_an_mfa_code_that_nobody_can_be_asked_for_is_told() -> None:
    told = in_kons_words(EOFError(), "sqs", "SendMessage", "")
    assert isinstance(told, BackendRefused)
    assert "MFA" in str(told)


def test_a_role_that_asks_for_a_code_is_refused_at_the_start_where_nobody_can_be_asked(
    tmp_path: Path,
) -> None:
    """As of a worker, which has no terminal: a line that says how, and exit code 3."""
    (tmp_path / "config").write_text(
        "[profile mfa]\nregion = us-east-1\nrole_arn = arn:aws:iam::123456789012:role/r\n"
        "mfa_serial = arn:aws:iam::123456789012:mfa/me\nsource_profile = base\n"
    )
    (tmp_path / "credentials").write_text("[base]\naws_access_key_id = a\naws_secret_access_key = b\n")
    experiment = "name: x\nbackend: aws\nworkload: {kind: sleep, count: 1, seconds: 0}\n"
    (tmp_path / "x.yml").write_text(experiment)
    ended = subprocess.run(
        [sys.executable, "-m", "kon", "up", "x.yml"],
        cwd=tmp_path,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            "AWS_PROFILE": "mfa",
            "AWS_CONFIG_FILE": str(tmp_path / "config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        start_new_session=True,
    )
    assert ended.returncode == 3, ended.stderr
    assert "kon: the AWS profile asks for an MFA code, and there is no terminal to ask at" in ended.stderr
    assert "aws configure export-credentials --format env" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_host_whose_metadata_fails_for_now_is_asked_again() -> None:
    error = exceptions.CredentialRetrievalError(provider="iam-role", error_msg="no answer")
    assert isinstance(in_kons_words(error, "sqs", "SendMessage", ""), BackendUnavailable)


def test_the_metadata_service_is_asked_more_than_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def settings() -> list[int]:
        from kon.backends.aws.clients import _session

        session = _session()
        return [
            session.get_config_variable(f"metadata_service_{name}") for name in ("num_attempts", "timeout")
        ]

    assert settings() == [5, 2]
    monkeypatch.setenv("AWS_METADATA_SERVICE_NUM_ATTEMPTS", "9")
    assert settings()[0] == 9


@pytest.mark.parametrize(
    "region", ["us-east-1", "eu-central-1", "af-south-1", "ap-southeast-3", "cn-north-1"]
)
def test_links_are_signed_for_the_buckets_own_region(region: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")

    async def link() -> str:
        calls = Calls(region=region)
        try:
            return await calls.run(
                "s3",
                lambda client: str(
                    client.generate_presigned_url("get_object", Params={"Bucket": "kon-b", "Key": "k"})
                ),
            )
        finally:
            await calls.close()

    end = ".cn" if region.startswith("cn-") else ""
    assert asyncio.run(link()).startswith(f"https://kon-b.s3.{region}.amazonaws.com{end}/k?")
