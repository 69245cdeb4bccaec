"""The strict layer: what it reads, what it refuses, and what its one fault does to a client."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import msgspec
import pytest
from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError
from botocore.parsers import ResponseParserError

from kon.backends.aws.failures import in_kons_words
from kon.backends.aws.policies import ROLES, policy
from kon.backends.emulator import KINDS, Emulator, Settings, started
from kon.backends.emulator.strict import RULES
from kon.backends.emulator.strict.calls import Call, Reply, Request, call_of
from kon.backends.emulator.strict.faults import FAULTS, Fault
from kon.backends.emulator.strict.rights import IamPolicy, Need, needs_of
from kon.backends.emulator.strict.rules import Account
from kon.core.errors import BackendUnavailable, ConfigurationError
from kon.fleet.clients import UNREACHED
from tests.backends.emulator.strict.page import PAGE, page

KEY = {
    "KeySchema": [{"AttributeName": "k", "KeyType": "HASH"}],
    "AttributeDefinitions": [{"AttributeName": "k", "AttributeType": "S"}],
    "BillingMode": "PAY_PER_REQUEST",
}


@pytest.fixture(scope="module", params=KINDS)
def server(request: pytest.FixtureRequest) -> Iterator[Emulator]:
    with started(request.param, strict=Settings()) as emulator, emulator.in_use():
        yield emulator


@pytest.fixture(scope="module")
def ministack() -> Iterator[Emulator]:
    with started("ministack", strict=Settings()) as emulator:
        yield emulator


@pytest.fixture(autouse=True)
def fresh(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    for name in ("server", "ministack"):
        if name in request.fixturenames:
            emulator: Emulator = request.getfixturevalue(name)
            emulator.set_strict(Settings())
            emulator.reset_strict()


def once(service: str, **options: Any) -> Any:
    """A client that tries each call once."""
    return boto3.client(service, config=Config(retries={"total_max_attempts": 1}), **options)


def code(call: Callable[..., Any], **parameters: Any) -> str:
    with pytest.raises(ClientError) as raised:
        call(**parameters)
    found: str = raised.value.response["Error"]["Code"]
    return found


# --- reading --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "query", "name", "parameters"),
    [
        ("GET", "/", "", "s3:ListBuckets", {}),
        ("PUT", "/b", "", "s3:CreateBucket", {"Bucket": "b"}),
        ("HEAD", "/b", "", "s3:HeadBucket", {"Bucket": "b"}),
        ("GET", "/b", "tagging", "s3:GetBucketTagging", {"Bucket": "b"}),
        ("GET", "/b", "list-type=2&prefix=x", "s3:ListObjectsV2", {"Bucket": "b"}),
        ("PUT", "/b/a/%C3%BC%201", "", "s3:PutObject", {"Bucket": "b", "Key": "a/ü 1"}),
        ("PUT", "/b/k", "uploadId=x&partNumber=1", "s3:UploadPart", {"Bucket": "b", "Key": "k"}),
        ("POST", "/b/k", "restore", "s3:RestoreObject", {"Bucket": "b", "Key": "k"}),
    ],
)
def test_calls_of_s3_are_told_apart(
    method: str, path: str, query: str, name: str, parameters: dict[str, str]
) -> None:
    signed = {"authorization": "AWS4-HMAC-SHA256 Credential=me/20260101/eu-west-1/s3/aws4_request, x"}
    call = call_of(Request(method, path, query, signed, b""))
    assert call is not None
    assert (call.name, call.region, call.key_id) == (name, "eu-west-1", "me")
    assert parameters.items() <= call.parameters.items()


def test_whoever_signs_nothing_is_let_through() -> None:
    assert call_of(Request("GET", "/_ministack/health", "", {}, b"")) is None


def test_each_call_is_recorded_with_what_it_needs(server: Emulator) -> None:
    server.set_strict(Settings(policies={"me": [{"Statement": []}]}))
    mine = once("sqs", aws_access_key_id="me", aws_secret_access_key="x")
    with pytest.raises(ClientError):
        mine.create_queue(QueueName="kon-q", tags={"a": "b"})
    [made] = server.strict_state().calls
    arn = made.needs[0].partition(" on ")[2]
    assert made.needs == [f"sqs:CreateQueue on {arn}", f"sqs:TagQueue on {arn}"]
    assert re.fullmatch(r"arn:aws:sqs:us-east-1:\d{12}:kon-q", arn)
    assert made.answer.startswith("denied sqs:CreateQueue")


# --- rights ---------------------------------------------------------------------------------------------


def test_what_a_policy_does_not_allow_is_refused_in_each_services_words(server: Emulator) -> None:
    server.set_strict(Settings(policies={"me": [{"Statement": []}]}))
    mine = {"aws_access_key_id": "me", "aws_secret_access_key": "x"}
    assert code(once("sqs", **mine).get_queue_url, QueueName="q") == "AccessDenied"
    assert code(once("dynamodb", **mine).describe_table, TableName="t") == "AccessDeniedException"
    assert code(once("s3", **mine).get_bucket_tagging, Bucket="bbb") == "AccessDenied"
    assert code(once("s3", **mine).head_bucket, Bucket="bbb") == "403", "a HEAD has no body"
    assert code(once("ec2", **mine).describe_instances) == "UnauthorizedOperation"
    assert code(once("cloudwatch", **mine).describe_alarms) == "AccessDenied"
    assert code(once("iam", **mine).get_role, RoleName="r") == "AccessDenied"
    with pytest.raises(ClientError, match="not authorized to perform: sqs:getqueueurl on"):
        once("sqs", **mine).get_queue_url(QueueName="q")
    assert once("sts", **mine).get_caller_identity()["Account"], "which nobody needs a right for"


def test_a_statement_of_partiql_needs_the_right_for_its_verb_and_table() -> None:
    statements = [{"Statement": 'INSERT INTO "kon-t" VALUE {}'}, {"Statement": ' update "kon-u" SET x=1'}]
    call = Call("dynamodb", "BatchExecuteStatement", {"Statements": statements}, "r", "k", "json", "POST", {})
    assert [(each.action, each.resource) for each in needs_of(call, "1")] == [
        ("dynamodb:PartiQLInsert", "arn:aws:dynamodb:r:1:table/kon-t"),
        ("dynamodb:PartiQLUpdate", "arn:aws:dynamodb:r:1:table/kon-u"),
    ]


def test_a_denial_outweighs_what_is_allowed() -> None:
    worker = IamPolicy(policy("worker"))
    assert worker.allows(Need("s3:PutObject", "arn:aws:s3:::kon-1-r/run/objects/x"))
    assert not worker.allows(Need("s3:PutObject", "arn:aws:s3:::kon-1-r/.fleet/abc.tar"))
    assert not worker.allows(Need("s3:GetObject", "arn:aws:s3:::other-1-r/x"))


def test_a_condition_that_the_evaluator_does_not_know_is_an_error() -> None:
    with pytest.raises(ValueError, match="NumericLessThan"):
        IamPolicy({"Statement": [{"Effect": "Allow", "Condition": {"NumericLessThan": {}}}]})


@pytest.mark.parametrize("role", ROLES)
def test_kons_policies_can_be_judged(role: Any) -> None:
    IamPolicy(policy(role))
    assert "kon-" not in str(policy(role, "lab")).replace("konf-", ""), "all is limited to the prefix"
    assert "arn:aws:" not in str(policy(role, partition="aws-cn"))


# --- faults ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        ("denied", "AccessDenied"),
        ("throttled", "RequestThrottled"),
        ("failed", "InternalFailure"),
        ("failed_after", "InternalFailure"),
        ("conflict", "QueueDeletedRecently"),
        ("not_there", "NonExistentQueue"),
    ],
)
def test_a_fault_is_met_once_at_its_call(server: Emulator, kind: Any, answer: str) -> None:
    server.set_strict(Settings(fault=Fault("sqs:CreateQueue", kind, nth=2)))
    queues = once("sqs")
    queues.create_queue(QueueName=f"kon-{kind}-1".replace("_", "-"))
    name = f"kon-{kind}-2".replace("_", "-")
    assert answer in code(queues.create_queue, QueueName=name)
    made = [each for each in queues.list_queues().get("QueueUrls", []) if each.endswith(name)]
    assert bool(made) == (kind == "failed_after") or kind == "failed_after", "listed a moment later"
    assert server.strict_state().hits == ["sqs:CreateQueue"]
    queues.create_queue(QueueName=name)


@pytest.mark.parametrize("kind", ["lost", "lost_after"])
def test_a_reply_is_lost_with_or_without_its_effect(server: Emulator, kind: Any) -> None:
    tables, name = once("dynamodb"), f"kon-{kind}"
    server.set_strict(Settings(fault=Fault("dynamodb:CreateTable", kind)))
    with pytest.raises(ConnectionClosedError):
        tables.create_table(TableName=name, **KEY)
    assert (name in tables.list_tables()["TableNames"]) == (kind == "lost_after")


@pytest.mark.parametrize("kind", ["killed", "killed_after", "interrupted"])
def test_a_process_is_killed_at_its_call(server: Emulator, kind: Any) -> None:
    name = f"kon-{kind.replace('_', '-')}"
    script = f"""
import boto3, os
print(os.getpid(), flush=True)
input()
boto3.client("sqs").create_queue(QueueName={name!r})
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    server.set_strict(Settings(fault=Fault("sqs:CreateQueue", kind, pid=pid)))
    process.communicate(b"\n", timeout=60)
    wanted = signal.SIGINT if kind == "interrupted" else signal.SIGKILL
    assert process.returncode in (-wanted, 1 if kind == "interrupted" else -wanted)
    once("sqs").list_queues()  # a new queue is missing in the first list
    listed = str(once("sqs").list_queues().get("QueueUrls", []))
    assert (f"/{name}" in listed) == (kind != "killed")


def test_an_empty_answer(ministack: Emulator) -> None:
    with ministack.in_use():
        ministack.set_strict(Settings(fault=Fault("sqs:ListQueueTags", "empty")))
        url = once("sqs").create_queue(QueueName="kon-empty", tags={"a": "b"})["QueueUrl"]
        assert once("sqs").list_queue_tags(QueueUrl=url).get("Tags") is None


def test_a_proxys_page_in_place_of_an_answer_is_an_outage(server: Emulator) -> None:
    """At Amazon's errors boto3 gives their codes; at such a page it breaks off, by another class of error."""
    for service, call in (("iam", "ListRoles"), ("sqs", "ListQueues"), ("ec2", "DescribeRegions")):
        server.set_strict(Settings(fault=Fault(f"{service}:{call}", "garbled", times=0)))
        with pytest.raises((ResponseParserError, ClientError)) as raised:
            getattr(once(service), xform_name(call))()
        told = in_kons_words(raised.value, service, call, "")
        assert isinstance(told, BackendUnavailable), raised.value
        assert "\n" not in str(told)
        if isinstance(raised.value, ResponseParserError):
            assert isinstance(raised.value, UNREACHED)


def test_every_kind_of_fault_does_something() -> None:
    text = Path(__file__).read_text()
    assert [kind for kind in FAULTS if f'"{kind}"' not in text] == []


# --- settings -------------------------------------------------------------------------------------------


def test_a_rule_that_there_is_not_can_not_be_switched_off(ministack: Emulator) -> None:
    with pytest.raises(ConfigurationError, match="no rule is called gravity"):
        ministack.set_strict(Settings(off=["gravity"]))


def test_a_rule_that_is_off_has_no_say(ministack: Emulator) -> None:
    with ministack.in_use():
        ministack.set_strict(Settings(off=["new-queue-has-no-url-yet"]))
        once("sqs").create_queue(QueueName="kon-off")
        assert once("sqs").get_queue_url(QueueName="kon-off")["QueueUrl"]


def test_conflicts_of_one_bucket_are_not_anothers(ministack: Emulator) -> None:
    """Tests that count requests run side by side on one server: 47 were counted for 46, now and then."""
    with ministack.in_use():
        s3 = once("s3")
        for bucket in ("kon-one", "kon-two"):
            s3.create_bucket(Bucket=bucket)
        for number in range(4):
            for bucket in ("kon-one", "kon-two"):
                s3.put_object(Bucket=bucket, Key=f"k{number}", Body=b"x", IfNoneMatch="*")
        assert code(s3.put_object, Bucket="kon-one", Key="k", Body=b"x", IfNoneMatch="*") == (
            "ConditionalRequestConflict"
        )
        assert ministack.strict_state().met["conditional-writes-meet"] == 1


def test_a_table_that_is_no_longer_new_has_its_tags_at_the_first_look() -> None:
    call = Call("dynamodb", "ListTagsOfResource", {"ResourceArn": "table/t"}, "", "", "json", "POST", {})
    change = RULES["tags-come-late"].change
    assert change is not None
    account = Account("0")
    table = account.made("table", "t", untagged=2)
    tagged = Reply(200, {}, b'{"Tags": [{"Key": "Project", "Value": "kon"}]}')
    told = change(call, account, tagged)
    assert told is not None
    assert told.json() == {"Tags": []}
    table.since_s -= 60.0
    assert change(call, account, tagged) is None


def test_a_reset_of_the_emulator_resets_the_layer(ministack: Emulator) -> None:
    with ministack.in_use():
        once("sqs").create_queue(QueueName="kon-reset")
        assert ministack.strict_state().calls
        urllib.request.urlopen(f"{ministack.endpoint}/_ministack/reset", data=b"", timeout=60).close()
        assert ministack.strict_state().calls == []


def test_every_rule_says_what_it_does_and_where_that_is_known_from() -> None:
    for rule in RULES.values():
        assert rule.says.endswith("."), rule.name
        assert rule.source.startswith("https://"), rule.name
        assert rule.on, rule.name
        assert (rule.check is None) != (rule.change is None), rule.name
    assert msgspec.json.encode(Settings(off=list(RULES)))


def test_the_page_has_every_rule() -> None:
    assert PAGE.read_text() == page(), "python -m tests.backends.emulator.strict.page"
