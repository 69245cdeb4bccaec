"""kon sweep where Amazon refuses: each thing that can go goes, what can't is named, and exit 5 says so.

The account here keeps Amazon's rules, and kon has the rights of its policy for controllers and no others.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError, EndpointConnectionError

from kon.backends.aws.policies import policy
from kon.backends.emulator import KEY_ID, Emulator, Settings
from kon.backends.emulator.strict.faults import Fault
from kon.backends.prices import usual_prices
from kon.fleet.sweep import Found, look, remove
from kon.fleet.thing import Filter
from tests.emulators import anew, as_anybody
from tests.fleet.conftest import Account
from tests.fleet.test_sweep import everything, sweep

RIGHTS = Settings(
    # these would be met by what the tests make, and not by kon
    off=[
        *("new-hosts-are-not-listed", "bucket-is-being-configured", "new-network-is-not-known-yet"),
        *("new-subnet-is-not-known-yet", "new-gateway-is-not-known-yet", "new-group-is-not-known-yet"),
        *("new-role-is-not-known-yet", "new-profile-is-not-known-yet"),
    ],
    policies={KEY_ID: [policy("controller")]},
)
REGIONS = ["us-east-1"]


class Strict(Account):
    """An account in which the test may do all, and kon what its policy says."""

    def __init__(self, moto: Emulator) -> None:
        super().__init__(moto.endpoint)
        self.moto = moto

    def client(self, service: str, region: str = "us-east-1") -> Any:
        self._made.append(as_anybody(service, region_name=region))
        return self._made[-1]

    def meets(self, fault: Fault | None) -> None:
        self.moto.set_strict(msgspec.structs.replace(RIGHTS, fault=fault))


@pytest.fixture
def account(moto: Emulator) -> Iterator[Strict]:
    with anew(moto, RIGHTS):
        account = Strict(moto)
        yield account
        account.close()


def removed(**options: Any) -> Found:
    found: Found = remove(Filter(), usual_prices(), REGIONS, sleep=lambda _: None, **options)
    return found


def test_all_goes_under_amazons_rules_with_the_rights_of_a_controller(account: Strict) -> None:
    kinds = everything(account, stem="konf-r1")
    # what is new is listed late, and has its tags late
    looks = [{each.kind for each in look(Filter(), usual_prices(), REGIONS).things} for _ in range(3)]
    assert looks[-1] == kinds
    found = removed()
    assert (found.things, found.troubles) == ([], [])
    denied = [each.answer for each in account.moto.strict_state().calls if each.answer.startswith("denied")]
    assert denied == []


@pytest.mark.parametrize(
    "call", [pytest.param("s3:GetBucketTagging", marks=pytest.mark.long), "ec2:DescribeVolumes"]
)
def test_a_kind_that_can_not_be_looked_at_stops_no_other(account: Strict, call: str) -> None:
    everything(account, stem="konf-r1")
    account.meets(Fault(call, "denied", times=0))
    found = removed(patience_s=60.0)
    assert found.troubles, "nobody knows what is left of it"
    assert all(
        ("AWS refuses" in each and "Denied" in each) or "Unauthorized" in each for each in found.troubles
    )
    account.meets(None)
    left = {each.kind for each in look(Filter(), usual_prices(), REGIONS).things}
    assert len(left) <= 3, "what can be seen has gone, but for what that holds"
    assert removed().things == []


def test_a_thing_that_can_not_be_removed_is_told_and_the_others_go(account: Strict) -> None:
    call = "dynamodb:DeleteTable"
    everything(account, stem="konf-r1")
    account.meets(Fault(call, "denied", times=0))
    found = removed(patience_s=60.0)
    assert {each.kind for each in found.things} <= {"role", "queue", "table", "bucket", "volume"}
    assert len(found.things) >= 1
    assert len([each for each in found.troubles if call.partition(":")[2] in each]) == len(found.things)
    account.meets(None)
    assert removed().things == []


def test_what_is_still_there_at_the_end_says_what_it_waits_for(account: Strict) -> None:
    everything(account, stem="konf-r1")
    account.meets(Fault("ec2:DeleteVolume", "conflict", times=0))
    ticks = itertools.count(0, 60)
    found = removed(patience_s=200.0, now_s=lambda: float(next(ticks)))
    assert {each.kind for each in found.things} == {"volume"}
    assert all("AWS refuses DeleteVolume: DependencyViolation" in each for each in found.troubles)
    assert len(found.troubles) == len(found.things)
    account.meets(None)
    assert removed().things == []


def test_what_goes_between_the_list_and_the_look_is_passed_over(account: Strict) -> None:
    everything(account, stem="konf-r1")
    account.meets(Fault("sqs:ListQueueTags", "not_there"))
    found = removed()
    assert (found.things, found.troubles) == ([], [])


_OF_ONE: tuple[str, ...] = (
    "Delete",
    "Terminate",
    "Detach",
    "Deregister",
    "Disassociate",
    "Remove",
    "Abort",
    "Get",
)


def _calls_of_kon(account: Strict) -> list[str]:
    """Each call by which everything goes."""
    everything(account, stem="konf-r1")
    assert removed().things == []
    made = [each.call for each in account.moto.strict_state().calls if each.key_id == KEY_ID]
    return list(dict.fromkeys(made))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", ["denied", "not_there"])
def test_any_call_that_is_denied_or_whose_thing_has_gone_stops_nothing_else(
    account: Strict, kind: str
) -> None:
    """The whole search: a new call of kon's is a member of it by itself."""
    calls = _calls_of_kon(account)
    assert len(calls) > 40
    for call in calls:
        verb = call.partition(":")[2]
        if call.startswith("sts:") or (kind == "not_there" and not verb.startswith(_OF_ONE)):
            continue  # nobody is denied that; a list is never gone
        everything(account, stem="konf-r1")
        account.meets(
            Fault(call, "denied" if kind == "denied" else "not_there", times=0 if kind == "denied" else 1)
        )
        found = removed(patience_s=2.0)
        left = {each.kind for each in found.things}
        assert (found.troubles or left) if kind == "denied" else not found.troubles, call
        if call not in ("ec2:DescribeInstances", "ec2:TerminateInstances"):
            assert "instance" not in left, call
        assert len(left) <= 5, (call, left)
        account.meets(None)
        assert removed().things == [], call


@pytest.mark.long
def test_where_the_regions_are_not_told_the_usual_one_is_seen_to_and_exit_5_says_so(account: Strict) -> None:
    everything(account, stem="konf-r1")
    account.meets(Fault("ec2:DescribeRegions", "denied", times=0))
    result = sweep("--fleet", "r1", "--yes")
    assert result.exit_code == 5
    assert "removed instance" in result.stderr
    assert "us-east-1 alone was looked at, name others by --region: AWS refuses" in result.stderr


def test_expired_credentials_are_told_once(account: Strict, monkeypatch: pytest.MonkeyPatch) -> None:
    def expired(self: Any, operation: str, given: dict[str, Any]) -> Any:
        raise ClientError({"Error": {"Code": "ExpiredToken", "Message": "The token has expired"}}, operation)

    monkeypatch.setattr(BaseClient, "_make_api_call", expired)
    result = sweep("--fleet", "r1", "--yes")
    assert (result.exit_code, result.stderr.count("ExpiredToken")) == (3, 1)


def test_a_service_that_nobody_reaches_stops_no_other(
    account: Strict, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything(account, stem="konf-r1")
    original = BaseClient._make_api_call

    def cut(self: Any, operation: str, given: dict[str, Any]) -> Any:
        if self.meta.service_model.service_name in ("sqs", "iam"):
            raise EndpointConnectionError(endpoint_url="https://nobody")
        return original(self, operation, given)

    with monkeypatch.context() as patch:
        patch.setattr(BaseClient, "_make_api_call", cut)
        found = removed(patience_s=60.0)
        assert found.things == []
        assert len(found.troubles) == 3, "queues, roles and profiles"
        assert all("AWS can't be asked" in each for each in found.troubles)
    found = look(Filter(), usual_prices(), REGIONS)
    assert {"role", "instance profile"} <= {each.kind for each in found.things}, "and the queue, listed late"
    assert removed().things == []


def test_where_nobody_answers_at_all_it_says_so(account: Strict, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(self: Any, operation: str, given: dict[str, Any]) -> Any:
        raise EndpointConnectionError(endpoint_url="https://nobody")

    monkeypatch.setattr(BaseClient, "_make_api_call", cut)
    for words in (["--region=us-east-1"], ["--fleet", "r1", "--yes"]):
        result = sweep(*words)
        assert (result.exit_code, "AWS can't be asked, is there a network? Could" in result.stderr) == (
            3,
            True,
        )


def test_a_host_that_is_protected_is_named_and_the_others_go(account: Strict) -> None:
    ec2 = account.client("ec2")
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "Project", "Value": "kon"}]}]
    wanted: dict[str, Any] = {
        "ImageId": "ami-12c6146b",
        "InstanceType": "t3.micro",
        "MinCount": 1,
        "MaxCount": 1,
        "TagSpecifications": tags,
    }
    ec2.run_instances(**wanted, DisableApiTermination=True)
    ec2.run_instances(**wanted)
    found = removed(patience_s=60.0)
    assert [each.kind for each in found.things] == ["instance"]
    assert "OperationNotPermitted" in found.troubles[0]


def test_a_host_that_is_not_listed_yet_is_found_by_a_second_look(account: Strict) -> None:
    account.moto.set_strict(msgspec.structs.replace(RIGHTS, off=[]))
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "Project", "Value": "kon"}]}]
    host = account.client("ec2").run_instances(
        ImageId="ami-12c6146b", InstanceType="t3.micro", MinCount=1, MaxCount=1, TagSpecifications=tags
    )["Instances"][0]["InstanceId"]
    gone: list[str] = []
    remove(
        Filter(), usual_prices(), REGIONS, sleep=lambda _: None, on_removed=lambda each: gone.append(each.id)
    )
    assert gone == [host]


def test_a_bucket_with_versions_goes(account: Strict) -> None:
    s3, bucket = account.client("s3"), "kon-123456789012-us-east-1"
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [{"Key": "Project", "Value": "kon"}]})
    for _ in range(2):
        s3.put_object(Bucket=bucket, Key="a", Body=b"x")
    s3.delete_object(Bucket=bucket, Key="a")
    assert removed().things == []
    s3.list_buckets()  # the first still lists it
    assert s3.list_buckets()["Buckets"] == []


def test_the_command_says_what_nobody_knows_and_ends_with_5(account: Strict) -> None:
    account.client("s3").create_bucket(Bucket="payroll")
    account.meets(Fault("s3:GetBucketTagging", "denied", times=0))
    result = sweep("--region=us-east-1")
    assert result.exit_code == 5
    assert "kon: the bucket payroll: AWS refuses GetBucketTagging: AccessDenied" in result.stderr
    assert "nothing of kon is left" not in result.stderr
