"""The instance metadata service, version 2: http://169.254.169.254, who is told by the caller's address."""

from __future__ import annotations

import contextlib
import datetime
import http.server
import json
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from tests.lab.addresses import REGION

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
        if ttl is None or not ttl.isdigit() or not 1 <= int(ttl) <= LONGEST_S:
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
        "AccessKeyId": "ASIALABLABLABLABLAB0",
        "SecretAccessKey": "lab",
        "Token": "lab",
        "LastUpdated": stamp(now),
        "Expiration": stamp(now + datetime.timedelta(hours=6)),
    }


def server(
    bound: tuple[str, int],
    find: Callable[[str], Host | None],
    tokens: Tokens,
) -> http.server.ThreadingHTTPServer:
    """find: the host of an address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            address, ttl = self.client_address[0], self.headers.get(TTL)
            token = tokens.issue(address, ttl)
            if self.path != "/latest/api/token" or token is None:
                self._say(400)
            else:
                self._say(200, token, {TTL: str(ttl)})

        def do_GET(self) -> None:
            host = find(self.client_address[0])
            if host is None:
                self._say(404)
            elif not tokens.is_good(self.client_address[0], self.headers.get(TOKEN)):
                self._say(401)
            else:
                answers = metadata(host, datetime.datetime.now(datetime.UTC))
                found = answers.get(self.path.removeprefix("/latest/").rstrip("/"))
                self._say(404) if found is None else self._say(200, found)

        def _say(self, code: int, text: str = "", headers: Mapping[str, str] | None = None) -> None:
            body = text.encode()
            self.send_response(code)
            for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(name, value)
            with contextlib.suppress(ConnectionError):  # whoever asked has given up, or is gone
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return http.server.ThreadingHTTPServer(bound, Handler)
