"""The instance metadata service, version 2: http://169.254.169.254, who is told by the caller's address."""

from __future__ import annotations

import datetime
import json
import secrets
import time
from collections.abc import Callable, Mapping
from http.server import ThreadingHTTPServer
from typing import Any, Final

import msgspec

from tests import answering
from tests.answering import Answer, Asked
from tests.lab.addresses import REGION
from tests.lab.rights import HOSTS

TOKEN: Final = "X-aws-ec2-metadata-token"
TTL: Final = "X-aws-ec2-metadata-token-ttl-seconds"
LONGEST_S: Final = 21_600


class Host(msgspec.Struct, frozen=True):
    """What the service tells about an instance.

    instance: as DescribeInstances has it. role: its instance profile's, if it has one.
    spot_action: when it is to be interrupted, as the service's JSON has it, or None.
    """

    instance: Mapping[str, Any]
    role: str | None = None
    spot_action: str | None = None


class Tokens:
    """Session tokens: good for the host that asked, for so long."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._until_s: dict[tuple[str, str], float] = {}

    def issue(self, address: str, ttl: str | None) -> str | None:
        """None for a lifetime that Amazon refuses as well."""
        if ttl is None or not ttl.isdecimal() or not 1 <= int(ttl) <= LONGEST_S:
            return None
        token = secrets.token_urlsafe(40)
        self._until_s[address, token] = self._now_s() + int(ttl)
        return token

    def is_good(self, address: str, token: str | None) -> bool:
        return token is not None and self._until_s.get((address, token), 0.0) > self._now_s()


def metadata(host: Host, now: datetime.datetime) -> dict[str, str]:
    """The service's answers, by what comes after /latest/."""
    instance = host.instance
    tags = {tag["Key"]: tag["Value"] for tag in instance.get("Tags", [])}
    answers = {
        "meta-data/instance-id": instance["InstanceId"],
        "meta-data/local-ipv4": instance["PrivateIpAddress"],
        "meta-data/instance-type": instance["InstanceType"],
        "meta-data/placement/availability-zone": instance["Placement"]["AvailabilityZone"],
        "meta-data/placement/region": REGION,
        "meta-data/tags/instance": "\n".join(tags),
        **{f"meta-data/tags/instance/{key}": value for key, value in tags.items()},
        "dynamic/instance-identity/document": json.dumps(
            {"instanceId": instance["InstanceId"], "region": REGION}
        ),
    }
    if host.role:
        place = "meta-data/iam/security-credentials"
        answers |= {place: host.role, f"{place}/{host.role}": json.dumps(_credentials(now))}
    if host.spot_action:
        answers["meta-data/spot/instance-action"] = host.spot_action
    return answers


def _credentials(now: datetime.datetime) -> dict[str, str]:
    def stamp(time: datetime.datetime) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ")

    return {
        "Code": "Success",
        "Type": "AWS-HMAC",
        "AccessKeyId": HOSTS,
        "SecretAccessKey": "lab",
        "Token": "lab",
        "LastUpdated": stamp(now),
        "Expiration": stamp(now + datetime.timedelta(hours=6)),
    }


def server(bound: tuple[str, int], find: Callable[[str], Host | None], tokens: Tokens) -> ThreadingHTTPServer:
    """find: the host of an address."""

    def answer(asked: Asked) -> Answer:
        if asked.method == "PUT":
            ttl = asked.headers.get(TTL.lower())
            token = tokens.issue(asked.address, ttl)
            if asked.path != "/latest/api/token" or token is None:
                return Answer(400)
            return Answer(200, token.encode(), {TTL: str(ttl)})
        host = find(asked.address)
        if host is None:
            return Answer(404)
        if not tokens.is_good(asked.address, asked.headers.get(TOKEN.lower())):
            return Answer(401)
        answers = metadata(host, datetime.datetime.now(datetime.UTC))
        found = answers.get(asked.path.removeprefix("/latest/").rstrip("/"))
        return Answer(404) if found is None else Answer(200, found.encode())

    return answering.server(bound, answer)
