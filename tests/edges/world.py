"""What stands in the account that plays take place in: things that are not kon's, and what kon makes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import botocore.loaders
import botocore.session

from kon.backends.aws.policies import policy
from kon.backends.emulator import KEY_ID, Settings
from kon.backends.emulator.strict import RULES
from kon.backends.emulator.strict.faults import Fault
from tests.edges.account import Account

PREFIX: Final = "kon"
ACCOUNT: Final = "000000000000"
BUCKET: Final = f"{PREFIX}-{ACCOUNT}-us-east-1"
FLEETS: Final = "konf-r1"

_KEY: Final = {
    "KeySchema": [{"AttributeName": "k", "KeyType": "HASH"}],
    "AttributeDefinitions": [{"AttributeName": "k", "AttributeType": "S"}],
    "BillingMode": "PAY_PER_REQUEST",
}

State = Mapping[str, Mapping[str, Any]]
"""By kind and name, what can be seen of each thing."""


class World:
    def __init__(self, account: Account) -> None:
        self.account: Final = account
        self._clients: dict[str, Any] = {}
        self._foreign: State = {}
        self._looked: dict[str, tuple[int, State]] = {}

    def begin(self, *, other_fleets: bool = False) -> None:
        """An account with nothing in it but what is somebody else's, of names like kon's.

        other_fleets: kon's own, too, under names that begin as r1's do.
        """
        self.account.reset()
        self._looked.clear()
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
        self._others_fleet({"Project": "payroll", "Run": "r1"}, "konf-payroll")
        if other_fleets:
            self._others_fleet({"Project": "kon", "Run": "r10"}, f"{FLEETS}0")
        self._foreign = self._seen()
        self._set(None)

    def _others_fleet(self, tags: Mapping[str, str], stem: str) -> None:
        ec2, sns, alarms = (self._client(each) for each in ("ec2", "sns", "cloudwatch"))
        pairs = [{"Key": key, "Value": value} for key, value in tags.items()]

        def tagged(kind: str) -> list[dict[str, Any]]:
            return [{"ResourceType": kind, "Tags": pairs}]

        ec2.create_key_pair(KeyName=stem, TagSpecifications=tagged("key-pair"))
        group = ec2.create_security_group(
            GroupName=stem, Description="theirs", TagSpecifications=tagged("security-group")
        )["GroupId"]
        ec2.run_instances(
            ImageId="ami-12c6146b",
            InstanceType="t3.micro",
            MinCount=1,
            MaxCount=1,
            SecurityGroupIds=[group],
            TagSpecifications=tagged("instance"),
        )
        sns.create_topic(Name=stem, Tags=pairs)
        alarms.put_metric_alarm(
            AlarmName=stem,
            Tags=pairs,
            MetricName="m",
            Namespace="n",
            Statistic="Sum",
            Period=60,
            EvaluationPeriods=1,
            Threshold=1.0,
            ComparisonOperator="GreaterThanThreshold",
        )

    def meet(self, fault: Fault | None) -> None:
        """From here on calls may meet this fault."""
        self._set(fault)

    def calls(self) -> list[str]:
        """Names of all calls of kon's since `begin`, in their order, emulator by emulator."""
        return [made.call for state in self.account.states() for made in state.calls if made.key_id == KEY_ID]

    def refusals(self) -> list[str]:
        """What kon's policies have refused: a call that is missing in them."""
        made = [each.answer for state in self.account.states() for each in state.calls]
        return [answer for answer in made if answer.startswith("denied ")]

    def hits(self) -> int:
        return sum(len(state.hits) for state in self.account.states())

    def hosts(self) -> list[str]:
        """Those of r1's that run, or are about to."""
        return list(self._new()["host"])

    def left(self, *, bucket_too: bool = False) -> list[str]:
        """What is there and was not at the beginning. The bucket outlives runs, but not what is in it."""
        found = []
        for kind, things in self._new().items():
            for name, seen in things.items():
                if name == BUCKET and not bucket_too:
                    found += [f"left: object {key}" for key in seen[2]]
                else:
                    found.append(f"left: {kind} {name}")
        return found

    def foreign_changes(self) -> list[str]:
        """What was there at the beginning, and is not, or not as it was."""
        now = self._settled()
        return [
            f"not kon's, and {'changed' if name in now[kind] else 'gone'}: {kind} {name}"
            for kind, things in self._foreign.items()
            for name, seen in things.items()
            if now[kind].get(name) != seen
        ]

    def _new(self) -> State:
        return {
            kind: {name: seen for name, seen in things.items() if name not in self._foreign[kind]}
            for kind, things in self._settled().items()
        }

    def seen(self) -> State:
        """All that can be seen of all things, however late Amazon shows it."""
        return self._settled()

    def _settled(self) -> State:
        """All that there is, past all that Amazon shows late."""
        self._set(None, off=list(RULES))
        found = self._seen()
        self._set(None)
        return found

    def _seen(self) -> State:
        """By service, and anew only where something was asked of it that may have changed it."""
        changes, found = self.account.changes(), dict[str, Mapping[str, Any]]()
        for service, look in self._looks().items():
            known = self._looked.get(service)
            if known is None or known[0] != changes[service]:
                known = self._looked[service] = (changes[service], look(self._client(service)))
            found |= known[1]
        return found

    @staticmethod
    def _looks() -> Mapping[str, Callable[[Any], State]]:
        return {
            "s3": _buckets,
            "sqs": _queues,
            "dynamodb": _tables,
            "iam": _roles,
            "ec2": _fleets,
            "cloudwatch": lambda alarms: {
                "alarm": {
                    each["AlarmName"]: each["MetricName"] for each in alarms.describe_alarms()["MetricAlarms"]
                }
            },
            "sns": lambda sns: {"topic": {each["TopicArn"]: "" for each in sns.list_topics()["Topics"]}},
            "ssm": lambda ssm: {
                "parameter": {each["Name"]: "" for each in ssm.describe_parameters()["Parameters"]}
            },
        }

    def _set(self, fault: Fault | None, off: list[str] | None = None) -> None:
        bound = {KEY_ID: [policy("client", PREFIX), policy("controller")]}
        self.account.set(Settings(off=off or [], policies=bound, fault=fault))

    def _client(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = self.account.client(service)
        return self._clients[service]


def _buckets(s3: Any) -> State:
    buckets = {}
    for each in s3.list_buckets()["Buckets"]:
        name = each["Name"]
        listed = s3.list_objects_v2(Bucket=name).get("Contents", [])
        uploads = s3.list_multipart_uploads(Bucket=name).get("Uploads", [])
        tags = _or_none(lambda: s3.get_bucket_tagging(Bucket=name)["TagSet"])  # noqa: B023
        rules = _or_none(lambda: s3.get_bucket_lifecycle_configuration(Bucket=name)["Rules"])  # noqa: B023
        buckets[name] = (tags, rules, sorted(item["Key"] for item in [*listed, *uploads]))
    return {"bucket": buckets}


def _queues(sqs: Any) -> State:
    urls = sqs.list_queues().get("QueueUrls", [])
    return {
        "queue": {url.rpartition("/")[2]: sqs.list_queue_tags(QueueUrl=url).get("Tags", {}) for url in urls}
    }


def _tables(tables: Any) -> State:
    found = {}
    for name in tables.list_tables()["TableNames"]:
        arn = tables.describe_table(TableName=name)["Table"]["TableArn"]
        expiry = tables.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
        tags = tables.list_tags_of_resource(ResourceArn=arn)["Tags"]
        found[name] = (tags, expiry.get("TimeToLiveStatus"))
    return {"table": found}


def _roles(iam: Any) -> State:
    profiles = iam.list_instance_profiles()["InstanceProfiles"]
    return {
        "role": {role["RoleName"]: role["Arn"] for role in iam.list_roles()["Roles"]},
        "profile": {
            each["InstanceProfileName"]: [role["RoleName"] for role in each["Roles"]] for each in profiles
        },
    }


def _fleets(ec2: Any) -> State:
    """By the id or the name of each thing, its tags, and what is in it."""
    groups = ec2.describe_instances()["Reservations"]
    hosts = [host for group in groups for host in group["Instances"]]
    found: dict[str, dict[str, Any]] = {
        "host": {
            each["InstanceId"]: each.get("Tags")
            for each in hosts
            if each["State"]["Name"] not in ("shutting-down", "terminated")
        }
    }
    for call, key, name in _OF_EC2:
        things = getattr(ec2, f"describe_{call}")()[key]
        # moto gives a host a second disk, without tags, that nobody has asked for
        things = [each for each in things if call != "volumes" or each.get("Tags")]
        found[call] = {each[name]: (each.get("Tags"), each.get("IpPermissions")) for each in things}
    return found


_OF_EC2: Final = (
    ("volumes", "Volumes", "VolumeId"),
    ("security_groups", "SecurityGroups", "GroupId"),
    ("key_pairs", "KeyPairs", "KeyName"),
    ("launch_templates", "LaunchTemplates", "LaunchTemplateName"),
    ("vpcs", "Vpcs", "VpcId"),
    ("subnets", "Subnets", "SubnetId"),
    ("internet_gateways", "InternetGateways", "InternetGatewayId"),
    ("route_tables", "RouteTables", "RouteTableId"),
)


def preload(world: World) -> None:
    """What commands load and what boto3 reads from disk, once for all that is forked."""
    import kon.cli.collect
    import kon.cli.provision
    import kon.cli.run
    import kon.cli.submit
    import kon.cli.sweep
    import kon.launch.local  # noqa: F401
    import tests.edges.fleet  # noqa: F401
    from kon.backends.aws.billing import Meter
    from kon.backends.aws.clients import Clients
    from kon.core.backend import RequestCount

    loader = botocore.loaders.create_loader()
    botocore.session.create_loader = lambda search_path=None: loader
    clients = Clients(None, Meter(RequestCount()), 1)
    for service in ("sqs", "dynamodb", "s3", "sts"):
        clients.get(service)
    clients.close()
    world.begin(other_fleets=True)


def _or_none(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except Exception:
        return None
