"""Makes the hosts be what DescribeInstances says, and DescribeInstances say what the hosts are."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final

import boto3

from tests.lab.addresses import API_URL, is_in_lab
from tests.lab.host import FirstBoot, LabHost
from tests.lab.imds import Host
from tests.lab.machine import Machine

LOOK_S: Final = 0.5

LOOKS_PER_IMAGES: Final = 4
"""How many looks at instances go by between two at images, which are rarely made."""

SPOT_ACTION: Final = "spot-action"
"""A file of this name in a host's folder is its notice of interruption."""


class Reconciler:
    """runs: the folder of the hosts' disks, by instance id. lab: what tells this lab from others."""

    def __init__(self, runs: Path, image: Path, machine: Machine, lab: str) -> None:
        self._ec2 = boto3.client("ec2", endpoint_url=API_URL)
        self._iam = boto3.client("iam", endpoint_url=API_URL)
        self._runs = runs
        self._image = image
        self._machine = machine
        self._lab = lab
        self._hosts: dict[str, LabHost] = {}
        self._known: dict[str, dict[str, Any]] = {}
        self._roles: dict[str, str] = {}
        self._images: dict[str, str] = {}
        self._looks = 0

    def start(self) -> None:
        """Look on, in a thread that ends with the process."""
        threading.Thread(target=self._keep_looking, name="reconciler", daemon=True).start()

    def _keep_looking(self) -> None:
        while True:
            try:
                self.look()
            except Exception as error:  # a host less is seen by the tests; a lab that stops helps nobody
                print(f"lab: {error!r}", file=sys.stderr, flush=True)
            time.sleep(LOOK_S)

    def look(self) -> None:
        """Once, both ways."""
        instances = self._instances()
        running = {i["InstanceId"]: i for i in instances if i["State"]["Name"] == "running"}
        self._looks += 1
        if self._looks % LOOKS_PER_IMAGES == 0 or not running.keys() >= self._hosts.keys():
            self._take_images()
        for name in [name for name in self._hosts if name not in running]:
            self._hosts.pop(name).kill()
        for name in [name for name, host in self._hosts.items() if host.is_off]:
            self._was_powered_off(name)
            running.pop(name)
        for name, instance in running.items():
            if name not in self._hosts:
                self._boot(name, instance)
        self._known = {instance["PrivateIpAddress"]: instance for instance in running.values()}
        gone = {i["InstanceId"] for i in instances if i["State"]["Name"] == "terminated"}
        for folder in [folder for folder in self._runs.iterdir() if folder.name in gone]:
            shutil.rmtree(folder, ignore_errors=True)

    def _instances(self) -> list[dict[str, Any]]:
        pages = self._ec2.get_paginator("describe_instances").paginate()
        found = [i for page in pages for r in page["Reservations"] for i in r["Instances"]]
        return [i for i in found if "PrivateIpAddress" not in i or is_in_lab(i["PrivateIpAddress"])]

    def _take_images(self) -> None:
        """Copy the disks of hosts of which images were made."""
        for image in self._ec2.describe_images(Owners=["self"])["Images"]:
            name, host = image["ImageId"], self._hosts.get(image.get("SourceInstanceId", ""))
            if host is not None and name not in self._images:
                host.copy_disk(self._runs / name)
                self._images[name] = f"{self._runs / name}:{host.image}"

    def _was_powered_off(self, name: str) -> None:
        wanted = "instanceInitiatedShutdownBehavior"
        said = self._ec2.describe_instance_attribute(InstanceId=name, Attribute=wanted)
        if said["InstanceInitiatedShutdownBehavior"].get("Value") == "terminate":
            self._ec2.terminate_instances(InstanceIds=[name])
        else:
            self._ec2.stop_instances(InstanceIds=[name])
        self._hosts.pop(name).kill()

    def _boot(self, name: str, instance: dict[str, Any]) -> None:
        folder = self._runs / name
        folder.mkdir(exist_ok=True)
        host = LabHost(instance, folder, self._images.get(instance["ImageId"], str(self._image)), self._lab)
        if host.is_new:
            host.prepare(FirstBoot.of(self._ec2, instance), self._machine)
        self._known[host.address] = instance  # before it asks
        host.start()
        self._hosts[name] = host

    def find(self, address: str) -> Host | None:
        """The running host of an address, for the metadata service."""
        instance = self._known.get(address)
        if instance is None:
            return None
        notice = self._runs / instance["InstanceId"] / SPOT_ACTION
        action = notice.read_text() if notice.exists() else None
        return Host(instance, self._role(instance), action)

    def _role(self, instance: dict[str, Any]) -> str | None:
        profile = instance.get("IamInstanceProfile", {}).get("Arn", "").rpartition("/")[2]
        if profile and profile not in self._roles:
            found = self._iam.get_instance_profile(InstanceProfileName=profile)["InstanceProfile"]["Roles"]
            if not found:
                return None
            self._roles[profile] = found[0]["RoleName"]
        return self._roles.get(profile)
