#!/usr/bin/python
"""account: what of an account decides whether a fleet can be made, asked for at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: account
short_description: Says what of an account decides whether a fleet can be made
description:
  - One module in place of five, as each takes a second to load what it needs. Changes nothing.
options:
  region:
    description: Where.
    type: str
    required: true
  instance_type:
    description: The type of the hosts.
    type: str
    required: true
  hosts:
    description: How many of them.
    type: int
    required: true
  spot:
    description: Whether they are spot hosts, which have a quota of their own.
    type: bool
    default: false
  run:
    description: The fleet; its hosts that are there already are not counted.
    type: str
    required: true
  role:
    description: What its role would be called.
    type: str
    required: true
  image_id:
    description: The image; or empty, for the newest of the name and owner.
    type: str
    default: ""
  image_owner:
    description: Whose images.
    type: str
    required: true
  image_name:
    description: What they are called.
    type: str
    required: true
author: kon contributors
"""

EXAMPLES = """
- name: Look at the account
  account:
    region: us-east-1
    instance_type: t3.micro
    hosts: 16
    run: r1
    role: konf-r1
    image_owner: "136693071363"
    image_name: debian-12-amd64-2*
"""

RETURN = """
id:
  description: The account's; empty where AWS does not know us, and then nothing else is said.
  type: str
  returned: always
problem:
  description: Why it does not.
  type: str
  returned: always
region_enabled:
  description: Whether the account can use the region; where not, nothing below is said.
  type: bool
  returned: where AWS knows us
images:
  description: The ids of the images, the newest last.
  type: list
  elements: str
  returned: where the region is enabled
image_problem:
  description: What AWS said against it.
  type: str
  returned: where the region is enabled
role_taken:
  description: Whether there is a role of that name that is not kon's.
  type: bool
  returned: where the region is enabled
wanted:
  description: vCPUs of these hosts.
  type: int
  returned: where the region is enabled
free:
  description: vCPUs that the quota leaves for them; null where nobody says what it is.
  type: int
  returned: where the region is enabled
quota:
  description: What the quota is called.
  type: str
  returned: where the region is enabled
"""

STANDARD = "ACDHIMRTZ"
QUOTAS = {
    False: ("L-1216C47A", "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances"),
    True: ("L-34B43A08", "All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests"),
}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "region": {"type": "str", "required": True},
            "instance_type": {"type": "str", "required": True},
            "hosts": {"type": "int", "required": True},
            "spot": {"type": "bool", "default": False},
            "run": {"type": "str", "required": True},
            "role": {"type": "str", "required": True},
            "image_id": {"type": "str", "default": ""},
            "image_owner": {"type": "str", "required": True},
            "image_name": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    try:
        import boto3
        import botocore.exceptions
    except ImportError as error:
        module.fail_json(msg=f"boto3 is missing: {error}")
    refusals = (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError)
    given, session = module.params, boto3.Session(region_name=module.params["region"])
    try:
        me = session.client("sts", region_name="us-east-1").get_caller_identity()["Account"]
    except refusals as error:
        module.exit_json(changed=False, id="", problem=str(error))
    regions = session.client("ec2", region_name="us-east-1").describe_regions()["Regions"]
    if given["region"] not in [each["RegionName"] for each in regions]:
        module.exit_json(changed=False, id=me, problem="", region_enabled=False)
    found: dict[str, Any] = {}
    ec2, iam = session.client("ec2"), session.client("iam")
    service_quotas = session.client("service-quotas")
    asked: list[Callable[[], None]] = [
        lambda: found.update(images(ec2, given, refusals)),
        lambda: found.update(role_taken=is_taken(iam, given["role"])),
        lambda: found.update(quota(module, ec2, service_quotas, refusals)),
    ]
    try:
        with ThreadPoolExecutor(len(asked)) as pool:
            for each in [pool.submit(question) for question in asked]:
                each.result()
    except NoSuchType:
        module.fail_json(msg=f'there is no instance type "{given["instance_type"]}" in {given["region"]}')
    except refusals as error:
        module.fail_json(msg=f"AWS does not let us look: {error}. Nothing was made")
    module.exit_json(changed=False, id=me, problem="", region_enabled=True, **found)


class NoSuchType(Exception):
    pass


def images(ec2: Any, given: dict[str, Any], refusals: tuple[type[Exception], ...]) -> dict[str, Any]:
    if given["image_id"]:
        asked: dict[str, Any] = {"ImageIds": [given["image_id"]]}
    else:
        filters = {"name": given["image_name"], "state": "available"}
        named = [{"Name": name, "Values": [value]} for name, value in filters.items()]
        asked = {"Owners": [given["image_owner"]], "Filters": named}
    try:
        found = ec2.describe_images(**asked)["Images"]
    except refusals as error:
        return {"images": [], "image_problem": str(error)}
    found.sort(key=lambda each: each["CreationDate"])
    return {"images": [each["ImageId"] for each in found], "image_problem": ""}


def is_taken(iam: Any, name: str) -> bool:
    try:
        role = iam.get_role(RoleName=name)["Role"]
    except iam.exceptions.NoSuchEntityException:
        return False
    return "Project" not in [each["Key"] for each in role.get("Tags", [])]


def quota(
    module: AnsibleModule, ec2: Any, service_quotas: Any, refusals: tuple[type[Exception], ...]
) -> dict[str, Any]:
    given = module.params
    try:
        each = vcpus(ec2, [given["instance_type"]])[given["instance_type"]]
    except (KeyError, *refusals) as error:
        raise NoSuchType from error
    code, name = QUOTAS[given["spot"]]
    free = None
    if given["instance_type"][0].upper() in STANDARD:
        try:
            said = service_quotas.get_service_quota(ServiceCode="ec2", QuotaCode=code)
            free = int(said["Quota"]["Value"]) - running(ec2, given["spot"], given["run"])
        except refusals as error:
            module.warn(f"the quota can't be read, and is not checked: {error}")
    return {"wanted": each * given["hosts"], "free": free, "quota": name}


def running(ec2: Any, spot: bool, run: str) -> int:
    """vCPUs of hosts that are there and count for the same quota, but for the fleet's own."""
    filters = [{"Name": "instance-state-name", "Values": ["pending", "running"]}]
    pages = ec2.get_paginator("describe_instances").paginate(Filters=filters)
    found = [i for page in pages for r in page["Reservations"] for i in r["Instances"]]
    others = [
        i["InstanceType"]
        for i in found
        if (i.get("InstanceLifecycle") == "spot") == spot
        and i["InstanceType"][0].upper() in STANDARD
        and {"Key": "Run", "Value": run} not in i.get("Tags", [])
    ]
    sizes = vcpus(ec2, sorted(set(others))) if others else {}
    return sum(sizes.get(each, 0) for each in others)


def vcpus(ec2: Any, types: list[str]) -> dict[str, int]:
    """Of one host of each type."""
    found = ec2.describe_instance_types(InstanceTypes=types)["InstanceTypes"]
    return {each["InstanceType"]: each["VCpuInfo"]["DefaultVCpus"] for each in found}


if __name__ == "__main__":
    main()
