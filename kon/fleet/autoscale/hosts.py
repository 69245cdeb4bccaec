"""A fleet's hosts at EC2, as `kon autoscale` sees, makes and ends them.

What a host is like stands in the fleet's launch template alone, which `playbooks/provision.yml` makes.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import product
from typing import Any, Final

import botocore.exceptions
import msgspec

from kon.backends.prices import Prices
from kon.core.errors import ConfigurationError
from kon.fleet.clients import Clients, code_of
from kon.fleet.thing import PROJECT, Filter, listed, tags_of

ROLE: Final = "worker"
DRAIN: Final = "Drain"
"""The tag that tells a host to drain and end itself; it reads its own tags from its metadata."""

NUMBER: Final = "Number"
MARK: Final = "Mark"
"""Under which a host that was made here says what became of it."""

TYPES: Final = "Types"
SUBNETS: Final = "Subnets"
"""Tags of the launch template: in which places hosts may be made, the best first, parted by spaces."""

ELSEWHERE: Final = (
    "InsufficientInstanceCapacity",
    "InsufficientHostCapacity",
    "InsufficientFreeAddressesInSubnet",
    "SpotMaxPriceTooLow",
    "Unsupported",
)
"""Codes of refusals that another zone or type may not have."""

_TIME: Final = "%Y-%m-%dT%H:%M:%SZ"


class FleetHost(msgspec.Struct, frozen=True):
    """launched_s, drain_s: when it was launched, and told to drain, in seconds since the epoch.

    mark: of a host that was made by `kon autoscale`; None for one that Ansible configures.
    """

    id: str
    launched_s: float
    mark: str | None = None
    drain_s: float | None = None
    number: int = 0


class LaunchTemplate(msgspec.Struct, frozen=True):
    """The launch template, as far as it matters here.

    types, subnets: where a host may be made, the best first. interface: its network interface.
    hour_usd: what the dearest of them costs; None where nobody knows a price.
    """

    types: list[str]
    subnets: list[str]
    interface: dict[str, Any]
    user_data: str
    tags: dict[str, str]
    expires_s: float
    hour_usd: float | None


class Ec2Hosts:
    """The hosts of one fleet."""

    def __init__(self, aws: Clients, fleet: str) -> None:
        self._aws = aws
        self.fleet: Final = fleet
        self._wanted = Filter(fleet)
        assert self._wanted.stem is not None
        self._stem: Final[str] = self._wanted.stem

    def template(self, prices: Prices) -> LaunchTemplate:
        """Raises ConfigurationError where there is none."""
        try:
            found = self._aws("ec2").describe_launch_template_versions(
                LaunchTemplateName=self._stem, Versions=["$Default"]
            )["LaunchTemplateVersions"]
        except botocore.exceptions.ClientError as error:
            if "NotFound" not in code_of(error):
                raise
            found = []
        if not found:
            raise ConfigurationError(
                f"there is no launch template {self._stem} in {self._aws.region}: `ansible-playbook "
                f"playbooks/provision.yml -e run={self._wanted.fleet} -e workers=0` makes one, and no hosts"
            )
        data = found[0]["LaunchTemplateData"]
        tags = _instance_tags(data)
        self._check_ours(tags)
        interface = data.get("NetworkInterfaces", [{}])[0]
        listed = self._aws("ec2").describe_launch_templates(LaunchTemplateNames=[self._stem])
        places = tags_of(listed["LaunchTemplates"][0].get("Tags"))
        types = places.get(TYPES, data["InstanceType"]).split()
        subnets = places.get(SUBNETS, interface.get("SubnetId", "")).split()
        hours_usd = [prices.ec2.hour.get(each) for each in types]
        known_usd = [each for each in hours_usd if each is not None]
        hour_usd = max(known_usd) if len(known_usd) == len(types) else None
        if hour_usd is not None and data.get("InstanceMarketOptions", {}).get("MarketType") == "spot":
            hour_usd *= prices.ec2.spot_share
        return LaunchTemplate(
            types,
            subnets,
            interface,
            base64.b64decode(data.get("UserData", "")).decode(),
            tags,
            datetime.strptime(tags["ExpiresAt"], _TIME).replace(tzinfo=UTC).timestamp(),
            hour_usd,
        )

    def list(self) -> list[FleetHost]:
        """Those that are booting or running."""
        filters = [
            *self._wanted.ec2,
            {"Name": "tag:Role", "Values": [ROLE]},
            {"Name": "instance-state-name", "Values": ["pending", "running"]},
        ]
        found = self._aws.pages("ec2", "describe_instances", "Reservations", Filters=filters)
        return [_host(each) for reservation in found for each in reservation["Instances"]]

    def launch(self, number: int, mark: str, user_data: str, template: LaunchTemplate) -> str:
        """One host, in the first place that has room; its id. The same mark a second time makes none."""
        refused: botocore.exceptions.ClientError | None = None
        for nth, (kind, subnet) in enumerate(product(template.types, template.subnets or [""])):
            place: dict[str, Any] = {"InstanceType": kind}
            if subnet:
                place["NetworkInterfaces"] = [{**template.interface, "SubnetId": subnet}]
            # a token stands for one request: with another place it is another
            place["ClientToken"] = f"{self._stem}-{mark}-{nth}" if nth else f"{self._stem}-{mark}"
            try:
                return self._launch(number, mark, user_data, template, place)
            except botocore.exceptions.ClientError as error:
                if code_of(error) not in ELSEWHERE:
                    raise
                refused = error
        assert refused is not None  # there is a type, as EC2 takes no template without
        raise refused

    def _launch(
        self, number: int, mark: str, user_data: str, template: LaunchTemplate, place: Mapping[str, Any]
    ) -> str:
        # Amazon adds the template's tags to these. All are named here, so that nothing depends on that
        tags = listed({**template.tags, NUMBER: str(number), MARK: mark})
        made = self._aws("ec2").run_instances(
            LaunchTemplate={"LaunchTemplateName": self._stem, "Version": "$Default"},
            MinCount=1,
            MaxCount=1,
            **place,
            UserData=user_data,
            TagSpecifications=[{"ResourceType": kind, "Tags": tags} for kind in ("instance", "volume")],
        )
        name: str = made["Instances"][0]["InstanceId"]
        return name

    def drain(self, hosts: Sequence[FleetHost], now_s: float) -> None:
        """Have them end what they do, give back the rest, and power themselves off, which terminates them."""
        if hosts:
            at = datetime.fromtimestamp(now_s, UTC).strftime(_TIME)
            self._aws("ec2").create_tags(Resources=[each.id for each in hosts], Tags=listed({DRAIN: at}))

    def terminate(self, hosts: Sequence[FleetHost]) -> None:
        """At once: what they hold comes again to others."""
        if hosts:
            self._aws("ec2").terminate_instances(InstanceIds=[each.id for each in hosts])

    def _check_ours(self, tags: Mapping[str, str]) -> None:
        wanted = {"Project": PROJECT, "Run": self._wanted.fleet, "Role": ROLE}
        if any(tags.get(name) != value for name, value in wanted.items()) or "ExpiresAt" not in tags:
            raise ConfigurationError(
                f"the launch template {self._stem} does not give hosts the tags Project, Run, Role and "
                "ExpiresAt of this fleet, so that nobody would find them again: nothing is made. Call "
                "playbooks/provision.yml, which mends it"
            )


def _instance_tags(data: Mapping[str, Any]) -> dict[str, str]:
    specified = data.get("TagSpecifications", [])
    found = [each["Tags"] for each in specified if each["ResourceType"] == "instance"]
    return tags_of(found[0]) if found else {}


def _host(instance: Mapping[str, Any]) -> FleetHost:
    tags = tags_of(instance.get("Tags"))
    drain_s = None
    if DRAIN in tags:
        drain_s = datetime.strptime(tags[DRAIN], _TIME).replace(tzinfo=UTC).timestamp()
    number = tags.get(NUMBER, "")
    return FleetHost(
        instance["InstanceId"],
        instance["LaunchTime"].timestamp(),
        tags.get(MARK),
        drain_s,
        int(number) if number.isdecimal() else 0,
    )
