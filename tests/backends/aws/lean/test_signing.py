"""Signatures: as botocore makes them, and as Amazon publishes them."""

from __future__ import annotations

import datetime
from typing import Any, Final
from unittest import mock

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from kon.backends.aws.lean.signing import Keys, Signer

EXAMPLE: Final = Keys("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", None)
EXAMPLE_S: Final = datetime.datetime(2015, 8, 30, 12, 36, tzinfo=datetime.UTC).timestamp()
FORM: Final = {"content-type": "application/x-www-form-urlencoded"}

VECTORS: Final[dict[str, tuple[str, dict[str, str], bytes, str]]] = {
    "get-vanilla": ("GET", {}, b"", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    "post-vanilla": ("POST", {}, b"", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    "post-x-www-form-urlencoded": (
        "POST",
        FORM,
        b"Param1=value1",
        "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
    ),
}
"""Of Amazon's test suite for Signature Version 4: method, headers, body, signature."""


@pytest.mark.parametrize("vector", VECTORS)
def test_amazons_own_vectors(vector: str) -> None:
    method, headers, body, signature = VECTORS[vector]
    signer = Signer(method, "/", {"host": "example.amazonaws.com", **headers}, "us-east-1", "service")
    lines = signer.lines(EXAMPLE, body, EXAMPLE_S).decode()
    assert lines.endswith(f"Signature={signature}\r\n")
    assert "Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request" in lines
    assert lines.startswith("x-amz-date: 20150830T123600Z\r\n")


texts = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=60)
requests = st.tuples(
    st.builds(Keys, texts, texts, st.none() | texts),
    st.sampled_from(["us-east-1", "eu-central-1", "us-gov-west-1"]),
    st.sampled_from(["sqs", "dynamodb"]),
    st.dictionaries(st.sampled_from(["x-amz-target", "content-type", "x-amzn-query-mode", "x-zz"]), texts),
    st.binary(max_size=300),
    st.integers(1_600_000_000, 2_500_000_000),
)


def botocores(
    keys: Keys, region: str, service: str, headers: dict[str, str], body: bytes, at: int
) -> dict[str, str]:
    """The headers of a request that botocore has signed."""
    request = AWSRequest(
        "POST", "https://sqs.example.com/a/b", headers={**headers, "User-Agent": "x"}, data=body
    )
    now = datetime.datetime.fromtimestamp(at, datetime.UTC)
    with mock.patch("botocore.auth.get_current_datetime", return_value=now):
        SigV4Auth(Credentials(*keys), service, region).add_auth(request)
    return {name.lower(): value for name, value in request.headers.items()}


@settings(max_examples=200, deadline=None)
@given(st.lists(requests, min_size=1, max_size=3), st.lists(st.binary(max_size=20), min_size=1, max_size=3))
def test_botocores_signatures(several: list[Any], bodies: list[bytes]) -> None:
    """One signer for all of a request's bodies, so that what it keeps for a second is tried as well."""
    for keys, region, service, headers, first, at in several:
        signer = Signer("POST", "/a/b", {"host": "sqs.example.com", **headers}, region, service)
        for later, body in enumerate([first, *bodies]):
            moment = at + later // 2
            signed = botocores(keys, region, service, headers, body, moment)
            lines = signer.lines(keys, body, moment + 0.5).decode().split("\r\n")
            mine = dict(line.split(": ", 1) for line in lines if line)
            assert mine.pop("Authorization") == signed["authorization"]
            assert mine == {name: signed[name] for name in mine}
            assert ("x-amz-security-token" in mine) == (keys.token is not None)


def test_other_keys_sign_at_once() -> None:
    """Credentials that were renewed are used within the same second."""
    signer = Signer("POST", "/", {"host": "h"}, "us-east-1", "sqs")
    first = signer.lines(EXAMPLE, b"", EXAMPLE_S)
    other = EXAMPLE._replace(access_key="ANOTHER", secret_key="other", token="t")
    assert b"ANOTHER" in signer.lines(other, b"", EXAMPLE_S)
    assert signer.lines(EXAMPLE, b"", EXAMPLE_S) == first
