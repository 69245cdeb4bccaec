"""Links to objects in S3: how long they open, and who renews them."""

from __future__ import annotations

import asyncio
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kon.backends.aws.objects import SignedLink, parse_link
from kon.backends.emulator import Emulator
from kon.core.errors import ConfigurationError
from tests.backends.aws.given import Bucket, bucket
from tests.backends.aws.objects_bed import file, on_a_bucket


def opened(url: str) -> bytes:
    with urllib.request.urlopen(url) as reply:
        content: bytes = reply.read()
    return content


def first_refusal(url: str) -> int:
    """Opens the link until it does not open any more; the status that it then has."""
    while True:
        try:
            opened(url)
        except urllib.error.HTTPError as error:
            with error:  # it holds the connection
                return error.code
        time.sleep(0.1)


@on_a_bucket
async def test_a_link_opens_until_it_expires_and_is_then_renewed(place: Bucket, folder: Path) -> None:
    objects = place.objects()
    await objects.put("a/ü 1.txt", file(folder, b"content"))
    url = await objects.url("a/ü 1.txt", 1.0)
    link = parse_link(url, place.name)
    assert link is not None
    assert link.key == "objects/a/ü 1.txt"
    assert await asyncio.to_thread(first_refusal, url) == 403
    assert await asyncio.to_thread(opened, await objects.renewed(url, 600.0)) == b"content"


@on_a_bucket
async def test_a_link_is_good_for_as_long_as_asked(place: Bucket, folder: Path) -> None:
    await place.objects().put("key", file(folder, b""))
    assert "X-Amz-Expires=604800&" in await place.objects().url("key", 7 * 86_400)
    for refused_s in (7 * 86_400 + 1, 0.5, float("nan")):
        with pytest.raises(ConfigurationError, match="7 days"):
            await place.objects().url("key", refused_s)


@pytest.mark.parametrize("days", [0.1, 30.0])
def test_a_link_dies_with_the_credentials_that_signed_it(
    on_ministack: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: float
) -> None:
    """Those of a role, as instances have them, and as tools for logins put them into the environment."""
    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(days=days)

    async def body() -> None:
        async with bucket() as place:
            objects = place.objects()
            await objects.put("key", file(tmp_path, b"x"))
            asked_s = 86_400.0
            url, until_s = await objects.signed("key", asked_s)
            assert "X-Amz-Security-Token=" in url
            assert until_s is not None
            assert until_s == pytest.approx(min(ends.timestamp(), time.time() + asked_s), abs=30)

    monkeypatch.setenv("AWS_SESSION_TOKEN", "passing")
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", ends.isoformat())
    asyncio.run(body())


@on_a_bucket
async def test_a_link_of_another_store_is_not_renewed(place: Bucket, folder: Path) -> None:
    for url in (
        "https://example.org/x",
        f"https://{place.name}.s3.amazonaws.com/other/key?X-Amz-Date=20260102T030405Z&X-Amz-Expires=60",
    ):
        with pytest.raises(ConfigurationError, match="not a link to an object of"):
            await place.objects().renewed(url, 60.0)
    gone = f"https://{place.name}.s3.amazonaws.com/objects/key?X-Amz-Date=20260102T030405Z&X-Amz-Expires=60"
    with pytest.raises(KeyError):
        await place.objects().renewed(gone, 60.0)


@pytest.mark.parametrize(
    "place",
    ["https://b.s3.eu-north-1.amazonaws.com/", "https://s3.amazonaws.com/b/", "http://127.0.0.1:1/b/"],
)
def test_what_a_link_says_of_itself(place: str) -> None:
    url = f"{place}a%20b/c%23?X-Amz-Date=20260102T030405Z&X-Amz-Expires=60&X-Amz-Signature=x"
    assert parse_link(url, "b") == SignedLink("a b/c#", 1_767_323_105.0)
    assert parse_link(url, "c") is None
    assert parse_link(f"{place}key", "b") is None
    assert parse_link(f"{place}key?X-Amz-Date=today&X-Amz-Expires=60", "b") is None


@on_a_bucket
async def test_a_key_too_long_for_s3_is_refused(place: Bucket, folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="1,024"):
        await place.objects().put("ü" * 510, file(folder, b""))
