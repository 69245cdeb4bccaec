#!/usr/bin/python
"""vcpu_quota: how many vCPUs hosts of a type would take, and how many the account's quota leaves."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: vcpu_quota
short_description: Says how many vCPUs hosts would take, and how many the account's quota leaves
description:
  - Quotas of EC2 are by families of types. Changes nothing.
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
author: kon contributors
"""

EXAMPLES = """
- name: See how many vCPUs may run
  vcpu_quota:
    region: us-east-1
    instance_type: t3.micro
    hosts: 16
    run: r1
"""

RETURN = """
wanted:
  description: vCPUs of these hosts.
  type: int
  returned: always
free:
  description: vCPUs that the quota leaves for them; null where nobody says what it is.
  type: int
  returned: always
name:
  description: What the quota is called.
  type: str
  returned: always
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
        },
        supports_check_mode=True,
    )
    try:
        import boto3
        import botocore.exceptions
    except ImportError as error:
        module.fail_json(msg=f"boto3 is missing: {error}")
    given = module.params
    session = boto3.Session(region_name=given["region"])
    ec2 = session.client("ec2")
    try:
        each = vcpus(ec2, [given["instance_type"]])[given["instance_type"]]
    except (KeyError, botocore.exceptions.ClientError):
        module.fail_json(msg=f'there is no instance type "{given["instance_type"]}" in {given["region"]}')
    code, name = QUOTAS[given["spot"]]
    free = None
    if given["instance_type"][0].upper() in STANDARD:
        try:
            quota = session.client("service-quotas").get_service_quota(ServiceCode="ec2", QuotaCode=code)
            used = running(ec2, given["spot"], given["run"])
            free = int(quota["Quota"]["Value"]) - used
        except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
            module.warn(f"the quota can't be read, and is not checked: {error}")
    module.exit_json(changed=False, wanted=each * given["hosts"], free=free, name=name)


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
