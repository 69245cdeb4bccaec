"""How many calls a fleet's removal takes in an account of many: others' things cost a list, and no more."""

from __future__ import annotations

import itertools
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError

from kon.backends.prices import usual_prices
from kon.fleet.sweep import Found, look, remove
from kon.fleet.thing import Filter
from tests.fleet.conftest import TAGS, Account, listed
from tests.fleet.test_sweep import everything

PAGE: Final = 100
"""The fewest that a list has on a page, if as many are asked for as can be."""

PAGES: Final = {"DescribeParameters": 10}
"""moto's own, whatever is asked for; Amazon has 50."""

SIZES: Final = {
    "ListRoles": "'MaxItems': 1000",
    "ListInstanceProfiles": "'MaxItems': 1000",
    "ListQueues": "'MaxResults': 1000",
    "DescribeAlarms": "'MaxRecords': 100",
    "DescribeParameters": "'MaxResults': 50",
}
"""As many on a page as the services give, of which they have a tenth by themselves."""

LISTED: Final = {
    *("ListRoles", "ListInstanceProfiles", "ListTopics", "ListQueues", "ListBuckets", "ListTables"),
    *("DescribeParameters", "DescribeAlarms"),
}
"""The calls that list whatever an account has, without tags."""

STEMS: Final = ("payroll", "konf-r10", "kon-r1", "konf")
"""What others' names begin with: a company's, another fleet's, a run's, and any fleet's."""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Each call of kon's, and what it is about."""
    seen: list[tuple[str, str]] = []
    original = BaseClient._make_api_call

    def noted(self: Any, operation: str, given: dict[str, Any]) -> Any:
        seen.append((operation, str(given)))
        return original(self, operation, given)

    monkeypatch.setattr(BaseClient, "_make_api_call", noted)
    return seen


def foreigners(account: Account, count: int) -> None:
    """So many of each sort that is listed without tags: some without any, some with another fleet's."""
    iam, sns, sqs, s3 = (account.client(each) for each in ("iam", "sns", "sqs", "s3"))
    dynamodb, ssm, cloudwatch = (account.client(each) for each in ("dynamodb", "ssm", "cloudwatch"))

    def make(number: int) -> None:
        name = f"{STEMS[number % len(STEMS)]}-{number:03}"
        tags = listed({**TAGS, "Run": "r10"}) if number % 3 else []
        iam.create_role(RoleName=name, AssumeRolePolicyDocument="{}", Tags=tags)
        iam.create_instance_profile(InstanceProfileName=name, Tags=tags)
        sns.create_topic(Name=name, Tags=tags)
        sqs.create_queue(QueueName=name, tags={each["Key"]: each["Value"] for each in tags})
        s3.create_bucket(Bucket=name)
        if tags:
            s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": tags})
        dynamodb.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
            Tags=tags,
        )
        ssm.put_parameter(Name=name, Value="-", Type="String", Tags=tags)
        cloudwatch.put_metric_alarm(
            AlarmName=name,
            ComparisonOperator="GreaterThanThreshold",
            EvaluationPeriods=1,
            MetricName="x",
            Namespace="y",
            Period=60,
            Statistic="Maximum",
            Threshold=1,
            Tags=tags,
        )

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(make, range(count)))


def removed() -> Found:
    found: Found = remove(Filter("r1"), usual_prices(), ["us-east-1"], sleep=lambda _: None)
    assert (found.things, found.troubles) == ([], [])
    return found


def _check_removal(account: Account, calls: list[tuple[str, str]], count: int) -> None:
    everything(account)
    calls.clear()
    removed()
    alone = Counter(operation for operation, _ in calls)
    foreigners(account, count)
    others = {each.id for each in look(Filter("r10"), usual_prices(), ["us-east-1"]).things}
    everything(account)
    calls.clear()
    removed()
    among = Counter(operation for operation, _ in calls)
    for operation in among | alone:
        pages = 1 + count // PAGES.get(operation, PAGE)
        most = alone[operation] * (pages if operation in LISTED else 1)
        assert among[operation] <= most, (operation, among[operation], alone[operation])
    small = [call for call in calls if SIZES.get(call[0], "") not in call[1]]
    assert small == []
    named = [f"'{stem}-{number:03}'" for number in range(count) for stem in STEMS]
    about = [call for call in calls if call[0] not in LISTED and any(name in call[1] for name in named)]
    assert about == []
    assert {each.id for each in look(Filter("r10"), usual_prices(), ["us-east-1"]).things} == others


@pytest.mark.timeout(300)
@pytest.mark.long
def test_others_things_cost_a_fleets_removal_no_call(account: Account, calls: list[tuple[str, str]]) -> None:
    _check_removal(account, calls, 12)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_three_hundred_roles_of_others_cost_a_fleets_removal_their_lists_alone(
    account: Account, calls: list[tuple[str, str]]
) -> None:
    _check_removal(account, calls, 300)


@pytest.mark.timeout(300)
@pytest.mark.long
def test_others_things_that_are_denied_or_vanish_are_not_missed(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody asks for them, so that whoever may not see another team's things can still remove a fleet."""
    foreigners(account, 12)
    everything(account)
    original = BaseClient._make_api_call
    answers = itertools.cycle(["AccessDenied", "NoSuchEntity"])

    def asked(self: Any, operation: str, given: dict[str, Any]) -> Any:
        if any(f"'{stem}-0" in str(given) for stem in STEMS):
            raise ClientError({"Error": {"Code": next(answers), "Message": "-"}}, operation)
        return original(self, operation, given)

    monkeypatch.setattr(BaseClient, "_make_api_call", asked)
    removed()


@pytest.mark.timeout(300)
@pytest.mark.long
def test_a_sweep_of_everybody_stops_asking_others_things_however_long_it_looks(
    account: Account, monkeypatch: pytest.MonkeyPatch, calls: list[tuple[str, str]]
) -> None:
    """It looks each second, and hosts take a minute to go."""
    foreigners(account, 4)
    everything(account)
    original, looks = BaseClient._make_api_call, 0

    def going(self: Any, operation: str, given: dict[str, Any]) -> Any:
        nonlocal looks
        looks += operation == "DescribeVolumes"
        if operation == "DeleteVolume" and looks < 13:
            raise ClientError({"Error": {"Code": "VolumeInUse", "Message": "-"}}, operation)
        return original(self, operation, given)

    monkeypatch.setattr(BaseClient, "_make_api_call", going)
    calls.clear()
    found = remove(Filter(), usual_prices(), ["us-east-1"], sleep=lambda _: None)
    assert (found.things, looks) == ([], 15)
    asked = Counter(call for call in calls if "-000" in call[1])
    assert {"ListQueueTags", "ListTagsOfResource", "DescribeTable"} <= {name for name, _ in asked}
    assert set(asked.values()) == {10}, asked
