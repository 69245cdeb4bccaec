"""What is not kon's is never changed: not at a creation, not at a deletion, whatever it is called."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from kon.backends.aws import AwsBackend
from kon.backends.aws.things import Things
from kon.backends.emulator import Emulator, Settings
from kon.core.backend import ChannelOptions
from kon.core.errors import BackendRefused, ConfigurationError, StoreError
from tests.emulators import STRICT, as_anybody

CHANNEL = ChannelOptions(visibility_s=3.0, max_receives=4)
ACCOUNT = "000000000000"

_numbers = itertools.count()


@pytest.fixture
def prefix() -> str:
    return f"own{next(_numbers)}"


Work = Callable[[AwsBackend], Coroutine[Any, Any, Any]]


def with_backend(prefix: str, work: Work, **options: Any) -> Any:
    async def whole() -> Any:
        backend = AwsBackend({"prefix": prefix, **options})
        try:
            return await work(backend)
        finally:
            await backend.close()

    return asyncio.run(whole())


def create(prefix: str, **options: Any) -> None:
    with_backend(prefix, lambda backend: backend.create("r", CHANNEL), **options)


def delete(prefix: str) -> None:
    with_backend(prefix, lambda backend: backend.delete("r"))


# --- runs that are taken up ----------------------------------------------------------------------------


def test_a_run_that_is_there_is_taken_up_and_its_expiry_moves_on(on_ministack: Emulator, prefix: str) -> None:
    """`up` then `run`, `run` after Ctrl-C, `submit` then `collect`: each makes the run once more."""
    create(prefix, expires_h=1)
    create(prefix, expires_h=48)
    queues, tables = as_anybody("sqs"), as_anybody("dynamodb")
    found = set()
    for name in ("tasks", "answers", "dead"):
        url = queues.get_queue_url(QueueName=f"{prefix}-r-{name}")["QueueUrl"]
        found.add(queues.list_queue_tags(QueueUrl=url)["Tags"]["ExpiresAt"])
    arn = tables.describe_table(TableName=f"{prefix}-r")["Table"]["TableArn"]
    while not (tags := tables.list_tags_of_resource(ResourceArn=arn)["Tags"]):
        pass
    found.add({tag["Key"]: tag["Value"] for tag in tags}["ExpiresAt"])
    bucket = as_anybody("s3").get_bucket_tagging(Bucket=f"{prefix}-{ACCOUNT}-us-east-1")["TagSet"]
    found.add({tag["Key"]: tag["Value"] for tag in bucket}["ExpiresAt"])
    [expires] = found
    create(prefix, expires_h=1)
    url = queues.get_queue_url(QueueName=f"{prefix}-r-tasks")["QueueUrl"]
    assert queues.list_queue_tags(QueueUrl=url)["Tags"]["ExpiresAt"] == expires, "it never moves back"


def test_a_run_is_made_again_right_after_its_deletion(on_ministack: Emulator, prefix: str) -> None:
    """Names that are blocked for a minute are waited for; the bucket stays, whose name would be blocked for
    an hour, and free for anybody."""
    before = len(on_ministack.strict_state().calls)
    create(prefix)
    delete(prefix)
    create(prefix)
    calls = {each.call for each in on_ministack.strict_state().calls[before:]}
    assert "s3:CreateBucket" in calls
    assert "s3:DeleteBucket" not in calls
    delete(prefix)


# --- foreign things ------------------------------------------------------------------------------------


@pytest.fixture
def foreign_bucket(on_ministack: Emulator, prefix: str) -> Iterator[str]:
    """Somebody's, in the same account, of the very name that kon would use."""
    name, s3 = f"{prefix}-{ACCOUNT}-us-east-1", as_anybody("s3")
    s3.create_bucket(Bucket=name)
    tags = {"TagSet": [{"Key": "CostCenter", "Value": "7"}]}
    for _ in range(2):  # the first is refused, as another change is under way
        try:
            s3.put_bucket_tagging(Bucket=name, Tagging=tags)
        except s3.exceptions.ClientError:
            continue
    s3.put_object(Bucket=name, Key="r/payroll", Body=b"theirs")
    yield name
    assert s3.get_bucket_tagging(Bucket=name)["TagSet"] == tags["TagSet"]
    assert s3.get_object(Bucket=name, Key="r/payroll")["Body"].read() == b"theirs"
    with pytest.raises(s3.exceptions.ClientError, match="NoSuchLifecycleConfiguration"):
        s3.get_bucket_lifecycle_configuration(Bucket=name)


def test_a_bucket_that_is_not_kons_is_neither_used_nor_emptied(foreign_bucket: str, prefix: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"there is a bucket {foreign_bucket} that does not have"):
        create(prefix)
    with pytest.raises(StoreError, match=f"the bucket {foreign_bucket} does not carry the tags"):
        delete(prefix)


@pytest.mark.parametrize("tags", [[], [{"Key": "Project", "Value": "payroll"}]])
def test_a_table_that_is_not_kons_is_neither_used_nor_deleted(
    on_ministack: Emulator, prefix: str, tags: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kon.backends.aws.things.YOUNG_S", 1.0)
    tables = as_anybody("dynamodb")
    key = {
        "KeySchema": [{"AttributeName": "k", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "k", "AttributeType": "S"}],
        "BillingMode": "PAY_PER_REQUEST",
    }
    tables.create_table(TableName=f"{prefix}-r", Tags=tags, **key)
    with pytest.raises(ConfigurationError, match=f"there is a table {prefix}-r that kon did not make"):
        create(prefix)
    with pytest.raises(StoreError, match=f"the table {prefix}-r does not carry the tags"):
        delete(prefix)
    described = tables.describe_time_to_live(TableName=f"{prefix}-r")["TimeToLiveDescription"]
    assert described["TimeToLiveStatus"] == "DISABLED"
    assert tables.describe_table(TableName=f"{prefix}-r")["Table"]["KeySchema"] == key["KeySchema"]


def test_people_s_own_tags_and_rules_of_kons_bucket_stay(on_ministack: Emulator, prefix: str) -> None:
    create(prefix, results_cold_after_days=3)
    bucket, s3 = f"{prefix}-{ACCOUNT}-us-east-1", as_anybody("s3")
    tags = s3.get_bucket_tagging(Bucket=bucket)["TagSet"]
    own = {"Key": "CostCenter", "Value": "7"}
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [*tags, own]})
    create(prefix, expires_h=96, results_cold_after_days=3)
    assert own in s3.get_bucket_tagging(Bucket=bucket)["TagSet"]


# --- other people's accounts ----------------------------------------------------------------------------


def test_a_bucket_of_another_account_gets_nothing_and_gives_nothing(
    on_ministack: Emulator, prefix: str
) -> None:
    """Whoever foresees the bucket's name could take it first, and have hosts run what lies there."""
    bucket = f"{prefix}-{ACCOUNT}-us-east-1"
    as_anybody("s3").create_bucket(Bucket=bucket)
    on_ministack.set_strict(Settings(policies=STRICT.policies, owners={bucket: "666666666666"}))
    try:
        with pytest.raises(BackendRefused, match=f"bucket {bucket} is another account"):
            create(prefix)
    finally:
        on_ministack.set_strict(STRICT)


def test_every_call_about_kons_bucket_names_the_account_that_must_own_it(
    on_ministack: Emulator, prefix: str, tmp_path: Any
) -> None:
    create(prefix)
    bucket = f"{prefix}-{ACCOUNT}-us-east-1"
    (tmp_path / "file").write_bytes(b"x")

    async def use(backend: AwsBackend) -> None:
        channel = await backend.open("r")
        assert channel.objects is not None
        on_ministack.set_strict(Settings(policies=STRICT.policies, owners={bucket: "666666666666"}))
        attempts = [
            channel.objects.put("key", tmp_path / "file"),
            channel.objects.get("key", tmp_path / "copy"),
            channel.objects.size_bytes("key"),
            channel.objects.url("key", 60.0),
        ]
        for attempt in attempts:
            with pytest.raises(BackendRefused, match="may not call s3:"):
                await attempt

    try:
        with_backend(prefix, use)
    finally:
        on_ministack.set_strict(STRICT)
    delete(prefix)


# --- protection ----------------------------------------------------------------------------------------


def test_the_bucket_is_public_to_nobody_and_encrypted(on_ministack: Emulator, prefix: str) -> None:
    create(prefix, kms_key="alias/runs")
    bucket, s3 = f"{prefix}-{ACCOUNT}-us-east-1", as_anybody("s3")
    block = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    assert all(block.values())
    [rule] = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    default = rule["ApplyServerSideEncryptionByDefault"]
    assert default == {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "alias/runs"}
    queues = as_anybody("sqs")
    url = queues.get_queue_url(QueueName=f"{prefix}-r-tasks")["QueueUrl"]
    attributes = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert attributes["KmsMasterKeyId"] == "alias/runs"


@pytest.mark.parametrize("has_tls", [True, False])
def test_what_comes_without_tls_is_refused_where_kon_itself_has_it(
    on_ministack: Emulator, prefix: str, has_tls: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An emulator on this machine has no TLS: a policy that asks for it would keep kon out."""

    async def tls(self: Things, service: str) -> bool:
        return has_tls

    monkeypatch.setattr(Things, "has_tls", tls)
    create(prefix)
    queues, policies = as_anybody("sqs"), list[str | None]()
    for name in ("tasks", "answers", "dead"):
        url = queues.get_queue_url(QueueName=f"{prefix}-r-{name}")["QueueUrl"]
        attributes = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        policies.append(attributes.get("Policy"))
    if has_tls:
        policies.append(as_anybody("s3").get_bucket_policy(Bucket=f"{prefix}-{ACCOUNT}-us-east-1")["Policy"])
    statements = [None if each is None else json.loads(each)["Statement"][0] for each in policies]
    denied = {"Effect": "Deny", "Principal": "*", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}
    for statement in statements:
        assert (statement is not None) == has_tls
        assert statement is None or denied.items() <= statement.items()
