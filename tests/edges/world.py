"""The account that plays take place in: two emulators with Amazon's rules, and things that are not kon's."""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from kon.backends.aws.policies import policy
from kon.backends.emulator import KEY_ID, Emulator, Settings, started
from kon.backends.emulator.strict import RULES
from kon.backends.emulator.strict.faults import Fault
from tests.emulators import as_anybody

PREFIX: Final = "kon"
ACCOUNT: Final = "000000000000"
BUCKET: Final = f"{PREFIX}-{ACCOUNT}-us-east-1"

_DATA: Final = ("SQS", "DYNAMODB", "S3", "STS")
_MOTO_OFF: Final = ["new-hosts-are-not-listed"]
_KEY: Final = {
    "KeySchema": [{"AttributeName": "k", "KeyType": "HASH"}],
    "AttributeDefinitions": [{"AttributeName": "k", "AttributeType": "S"}],
    "BillingMode": "PAY_PER_REQUEST",
}

State = Mapping[str, Mapping[str, Any]]
"""By kind and name, what can be seen of each thing."""


class World:
    """data: has SQS, DynamoDB and S3. api: has the rest."""

    def __init__(self, data: Emulator, api: Emulator) -> None:
        self._servers = (data, api)
        self._clients: dict[str, Any] = {}

    def begin(self) -> None:
        """An account with nothing in it but what is somebody else's, of names like kon's."""
        for server, page in zip(self._servers, ("_ministack/reset", "moto-api/reset"), strict=True):
            request = urllib.request.Request(f"{server.endpoint}/{page}", data=b"")
            urllib.request.urlopen(request, timeout=60).close()
        self._set(None, off=list(RULES))
        s3, sqs, tables, iam = (self._client(each) for each in ("s3", "sqs", "dynamodb", "iam"))
        for name in ("kon-payroll", "konling-000000000000-us-east-1"):
            s3.create_bucket(Bucket=name)
            s3.put_object(Bucket=name, Key="e-lease-w1-r1/objects/k", Body=b"theirs")
        s3.put_bucket_tagging(
            Bucket="kon-payroll", Tagging={"TagSet": [{"Key": "Project", "Value": "payroll"}]}
        )
        sqs.create_queue(QueueName="kon-mail", tags={"Project": "konsole"})
        sqs.create_queue(QueueName="konling-tasks")
        tables.create_table(TableName="kon-e", Tags=[{"Key": "Project", "Value": "payroll"}], **_KEY)
        iam.create_role(RoleName="konf-r10", AssumeRolePolicyDocument="{}")
        self._set(None)

    def meet(self, fault: Fault | None) -> None:
        """From here on calls may meet this fault."""
        self._set(fault)

    def calls(self) -> list[str]:
        """Names of all calls since `forget`, in their order."""
        return [made.call for server in self._servers for made in server.strict_state().calls]

    def refusals(self) -> list[str]:
        """What kon's policies have refused: a call that is missing in them."""
        states = [server.strict_state() for server in self._servers]
        return [made.answer for state in states for made in state.calls if made.answer.startswith("denied ")]

    def hits(self) -> int:
        return sum(len(server.strict_state().hits) for server in self._servers)

    def seen(self) -> State:
        """All that there is, past all that Amazon shows late."""
        self._set(None, off=list(RULES))
        s3, sqs, tables, iam = (self._client(each) for each in ("s3", "sqs", "dynamodb", "iam"))
        buckets = {}
        for each in s3.list_buckets()["Buckets"]:
            name = each["Name"]
            listed = s3.list_objects_v2(Bucket=name).get("Contents", [])
            uploads = s3.list_multipart_uploads(Bucket=name).get("Uploads", [])
            tags = _or_none(lambda: s3.get_bucket_tagging(Bucket=name)["TagSet"])  # noqa: B023
            rules = _or_none(lambda: s3.get_bucket_lifecycle_configuration(Bucket=name)["Rules"])  # noqa: B023
            buckets[name] = (tags, rules, sorted(item["Key"] for item in [*listed, *uploads]))
        queues = {
            url.rpartition("/")[2]: sqs.list_queue_tags(QueueUrl=url).get("Tags", {})
            for url in sqs.list_queues().get("QueueUrls", [])
        }
        found = {}
        for name in tables.list_tables()["TableNames"]:
            arn = tables.describe_table(TableName=name)["Table"]["TableArn"]
            expiry = tables.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
            tags = tables.list_tags_of_resource(ResourceArn=arn)["Tags"]
            found[name] = (tags, expiry.get("TimeToLiveStatus"))
        roles = {role["RoleName"]: role["Arn"] for role in iam.list_roles()["Roles"]}
        self._set(None)
        return {"bucket": buckets, "queue": queues, "table": found, "role": roles}

    def _set(self, fault: Fault | None, off: list[str] | None = None) -> None:
        bound = {KEY_ID: [policy("client", PREFIX), policy("controller")]}
        for server in self._servers:
            server.set_strict(Settings(off=_MOTO_OFF if off is None else off, policies=bound, fault=fault))

    def _client(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = as_anybody(service)
        return self._clients[service]


def differences(before: State, after: State) -> list[str]:
    """What is there and was not, what was and is not, and what is another than it was."""
    told = []
    for kind in before:
        for name in sorted(before[kind].keys() | after[kind].keys()):
            was, now = before[kind].get(name), after[kind].get(name)
            if was != now:
                word = "left" if was is None else "gone" if now is None else "changed"
                told.append(f"{word}: {kind} {name}")
    return told


@contextmanager
def world() -> Iterator[World]:
    """Within it, this process and those that it forks are in this account."""
    with started("ministack", strict=Settings()) as data, started("moto", strict=Settings()) as api:
        with api.in_use():
            os.environ.update({f"AWS_ENDPOINT_URL_{service}": data.endpoint for service in _DATA})
            _preload()
            yield World(data, api)


def _preload() -> None:
    """What commands load and what boto3 reads from disk, once for all that is forked."""
    import kon.cli.provision
    import kon.cli.run
    import kon.cli.sweep
    import kon.launch.local  # noqa: F401
    from kon.backends.aws.billing import Meter
    from kon.backends.aws.clients import Clients
    from kon.core.backend import RequestCount

    clients = Clients(None, Meter(RequestCount()), 1)
    for service in ("sqs", "dynamodb", "s3", "sts"):
        clients.get(service)
    clients.close()


def _or_none(ask: Any) -> Any:
    try:
        return ask()
    except Exception:
        return None
