"""Results in cold storage, on both emulators: the rule that moves them, their states, asking them back."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from kon.backends.aws import AwsBackend
from kon.backends.aws.calls import Calls
from kon.backends.aws.cold import MOST_RULES, ColdObject, ColdStore, parse_restore, with_rules
from kon.backends.aws.options import AwsOptions
from kon.backends.emulator import Emulator
from kon.core.backend import ChannelOptions
from kon.core.errors import ConfigurationError
from tests.backends.aws.given import fresh_name

_prefixes = (f"cold{number}" for number in itertools.count(1))


@pytest.fixture(params=["ministack", "moto"])
def emulator(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    request.getfixturevalue(f"on_{name}")
    return name


async def _rules(calls: Calls, bucket: str) -> dict[str, Mapping[str, Any]]:
    reply = await calls.call("s3", "GetBucketLifecycleConfiguration", Bucket=bucket)
    return {rule["ID"]: rule for rule in reply["Rules"]}


async def _come(store: ColdStore, key: str) -> ColdObject:
    while True:
        found = await store.state_of(key)
        assert found is not None
        if found.state != "coming back":
            return found
        await asyncio.sleep(0.1)


def test_each_run_has_its_rule_and_others_stay(emulator: str) -> None:
    async def body() -> None:
        prefix, calls = next(_prefixes), Calls()
        plain = AwsBackend({"prefix": prefix})
        cold = AwsBackend(
            {"prefix": prefix, "results_cold_after_days": 30, "results_storage_class": "DEEP_ARCHIVE"}
        )
        channel = ChannelOptions(3.0, 4)
        await cold.create("a", channel)
        await cold.create("b", channel)
        await plain.create("c", channel)
        [bucket] = [each.name for each in await plain.describe("a") if each.kind == "bucket"]
        rules = await _rules(calls, bucket)
        assert set(rules) == {"kon: unfinished uploads", "kon: cold a/objects/", "kon: cold b/objects/"}
        rule = rules["kon: cold a/objects/"]
        [transition] = rule["Transitions"]
        assert (transition["Days"], transition["StorageClass"]) == (30, "DEEP_ARCHIVE")
        assert rule["Filter"]["Prefix"] == "a/objects/", "claims and what hosts install stay where they are"
        await calls.call("s3", "PutObject", Bucket=bucket, Key="a/objects/x", Body=b"x")
        await cold.delete("a", keep_objects=True)
        assert "kon: cold a/objects/" in await _rules(calls, bucket), "what is kept still goes cold"
        await cold.delete("a")
        assert "kon: cold a/objects/" not in await _rules(calls, bucket)
        for backend, run in ((cold, "b"), (plain, "c")):
            await backend.delete(run)
            await backend.close()
        await calls.close()

    asyncio.run(body())


@pytest.mark.parametrize("keep_objects", [False, True])
def test_what_killed_workers_sent_in_part_goes_with_the_run(emulator: str, keep_objects: bool) -> None:
    async def body() -> None:
        calls, backend = Calls(), AwsBackend({"prefix": next(_prefixes)})
        await backend.create("a", ChannelOptions(3.0, 4))
        [bucket] = [each.name for each in await backend.describe("a") if each.kind == "bucket"]
        for key in ("a/objects/x", "b/objects/x"):
            await calls.call("s3", "CreateMultipartUpload", Bucket=bucket, Key=key)
        await backend.delete("a", keep_objects=keep_objects)
        left = await calls.call("s3", "ListMultipartUploads", Bucket=bucket)
        assert [each["Key"] for each in left["Uploads"]] == ["b/objects/x"]
        await backend.close()
        await calls.close()

    asyncio.run(body())


def test_what_is_right_is_not_written_again(on_ministack: Emulator) -> None:
    uploads = with_rules([], "a/objects/", None, "GLACIER")
    assert [rule["ID"] for rule in uploads] == ["kon: unfinished uploads"]
    both = with_rules(uploads, "a/objects/", 3, "GLACIER")
    assert with_rules(both, "a/objects/", 3, "GLACIER") == both
    theirs = {"ID": "mine", "Status": "Enabled", "Filter": {"Prefix": "q/"}, "Expiration": {"Days": 1}}
    assert theirs in with_rules([*both, theirs], "b/objects/", 3, "GLACIER")


def test_a_bucket_that_is_full_of_rules_says_so() -> None:
    rules = [{"ID": f"kon: cold r{number}/objects/"} for number in range(MOST_RULES - 1)]
    assert len(with_rules(rules, "r0/objects/", 1, "GLACIER")) == MOST_RULES
    with pytest.raises(ConfigurationError, match="can have no more"):
        with_rules(rules, "one-more/objects/", 1, "GLACIER")


def test_objects_are_told_apart_asked_back_once_and_come(emulator: str) -> None:
    async def body() -> None:
        calls, bucket = Calls(), fresh_name()
        await calls.call("s3", "CreateBucket", Bucket=bucket)
        for key, kind in (("a", "STANDARD"), ("b", "GLACIER"), ("c", "GLACIER"), ("d", "GLACIER_IR")):
            await calls.call("s3", "PutObject", Bucket=bucket, Key=f"r/{key}", Body=b"xy", StorageClass=kind)
        await calls.call("s3", "PutObject", Bucket=bucket, Key="other", Body=b"x", StorageClass="GLACIER")
        store = ColdStore(calls, bucket, "r/")
        states = [each async for each in store.states()]
        assert [(each.key, each.state) for each in states] == [
            *(("a", "here"), ("b", "cold"), ("c", "cold"), ("d", "here"))
        ]
        assert {each.size_bytes for each in states} == {2}
        assert [each.key async for each in store.states({"b", "no"})] == ["b"]

        assert await store.restore("b", 3, "Standard")
        if emulator == "ministack":  # moto has it at once
            assert not await store.restore("b", 3, "Standard"), "it was asked for already"
            found = await store.state_of("b")
            assert found is not None
            assert found.state == "coming back"
        found = await _come(store, "b")
        assert found.state == "here until"
        assert found.until is not None
        assert found.until > datetime.now(UTC)
        found = await store.state_of("c")
        assert found is not None
        assert found.state == "cold"
        assert await store.state_of("no") is None
        await calls.close()

    asyncio.run(body())


@pytest.mark.long
def test_more_than_a_page(on_ministack: Emulator) -> None:
    async def body() -> None:
        calls, bucket = Calls(), fresh_name()
        await calls.call("s3", "CreateBucket", Bucket=bucket)
        put = [calls.call("s3", "PutObject", Bucket=bucket, Key=f"r/{n:04}", Body=b"") for n in range(1_005)]
        await asyncio.gather(*put)
        store = ColdStore(calls, bucket, "r/")
        assert [each.key async for each in store.states()] == [f"{n:04}" for n in range(1_005)]
        missing = ColdStore(calls, fresh_name(), "")
        assert [each async for each in missing.states()] == [], "no bucket, no objects"
        await calls.close()

    asyncio.run(body())


@pytest.mark.parametrize(
    ("header", "state", "until"),
    [
        (None, "cold", None),
        ('ongoing-request="true"', "coming back", None),
        (
            'ongoing-request="false", expiry-date="Fri, 21 Dec 2012 00:00:00 GMT"',
            "here until",
            datetime(2012, 12, 21, tzinfo=UTC),
        ),
    ],
)
def test_what_s3_says_of_a_copy(header: str | None, state: str, until: datetime | None) -> None:
    assert parse_restore(header) == (state, until)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"results_cold_after_days": 0}, "a whole number, 1 or more"),
        ({"results_storage_class": "ICE"}, '"GLACIER_IR", "GLACIER" or "DEEP_ARCHIVE"'),
        ({"results_cold_after_days": 3, "objects": "s3://mine/x"}, "rules of that bucket's own"),
    ],
)
def test_options_that_can_not_be(options: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=said):
        AwsOptions.parse(options)
