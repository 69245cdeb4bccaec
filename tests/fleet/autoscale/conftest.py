"""Fixtures: an account of nobody's, with a fleet's launch template, bucket and a run."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kon.backends.aws import AwsBackend
from kon.core.backend import ChannelOptions
from kon.core.queue import Message
from kon.fleet.autoscale.equipment import Equipment, FleetBucket
from kon.fleet.clients import Clients
from tests.fleet.conftest import Account, account, listed, server

__all__ = ["account", "server"]

RUN = "tiny-lease-w1-r1"
HOST_TAGS = {
    "Project": "kon",
    "Run": "r1",
    "ExpiresAt": "2030-01-01T00:00:00Z",
    "Role": "worker",
    "Name": "konf-r1",
    "User": "admin",
}
EQUIPMENT = Equipment("d1", "/opt/kon", "/var/lib/kon", ["ffmpeg"], "", "0")


class Fleet:
    """The fleet r1, as provision and configure leave it with no host."""

    def __init__(self, account: Account, folder: Path) -> None:
        self.ec2 = account.client("ec2")
        self.s3 = account.client("s3")
        self.aws = Clients("us-east-1")
        self.bucket = FleetBucket(self.aws, "r1")
        self.folder = folder

    def make(self, **tags: str) -> None:
        self.ec2.create_launch_template(
            LaunchTemplateName="konf-r1",
            LaunchTemplateData={
                "ImageId": "ami-12c6146b",
                "InstanceType": "t3.micro",
                "InstanceInitiatedShutdownBehavior": "terminate",
                "UserData": base64.b64encode(b"#!/bin/sh\necho expiry\n").decode(),
                "TagSpecifications": [
                    {"ResourceType": kind, "Tags": listed({**HOST_TAGS, **tags})}
                    for kind in ("instance", "volume")
                ],
            },
        )

    def begin_run(self) -> None:
        asyncio.run(self._create())

    async def _create(self) -> None:
        backend = AwsBackend({"prefix": "konf-r1", "region": "us-east-1"})
        await backend.create(RUN, ChannelOptions(30.0, 5))
        await backend.close()

    def queue(self, messages: int) -> None:
        asyncio.run(self._send(messages))

    async def _send(self, messages: int) -> None:
        backend = AwsBackend({"prefix": "konf-r1", "region": "us-east-1"})
        channel = await backend.open(RUN)
        await channel.tasks.send([Message(b"x")] * messages)
        await backend.close()

    def equip(self, **changed: Any) -> None:
        bundle = self.folder / "kon-d1.tar"
        bundle.write_bytes(b"bundle")
        assert self.bucket.equip(EQUIPMENT, bundle, None) is True

    def hosts(self, *states: str) -> list[dict[str, Any]]:
        wanted = list(states) or ["pending", "running"]
        filters = [{"Name": "instance-state-name", "Values": wanted}]
        found = self.ec2.describe_instances(Filters=filters)["Reservations"]
        return [host for each in found for host in each["Instances"]]

    def tags(self, host: dict[str, Any]) -> dict[str, str]:
        return {each["Key"]: each["Value"] for each in host["Tags"]}

    def says(self, host: dict[str, Any], words: str) -> None:
        key = f".fleet/hosts/{self.tags(host)['Mark']}"
        self.s3.put_object(Bucket=self.bucket.name, Key=key, Body=words.encode())


@pytest.fixture
def fleet(account: Account, tmp_path: Path) -> Iterator[Fleet]:
    made = Fleet(account, tmp_path)
    yield made
    made.aws.close()
