"""What moto 5.2 leaves out of EC2 and playbooks need: a launch template's word is law.

moto takes image, type, key and user data from a launch template, and of disks all but the right number.
Amazon takes whatever the request itself does not say.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from moto.core.types import Base64EncodedString
from moto.ec2.models import EC2Backend
from moto.ec2.models.amis import Ami, AmiBackend
from moto.ec2.models.instances import InstanceBackend, Reservation
from moto.ec2.models.launch_templates import LaunchTemplate, LaunchTemplateBackend
from moto.ec2.responses.amis import AmisResponse
from moto.ec2.responses.instances import InstanceResponse
from moto.ec2.utils import convert_tag_spec
from moto.servicequotas.models import ServiceQuotasBackend


def mend() -> None:
    """For the whole process, once."""
    if InstanceBackend.run_instances.__name__ == "run_instances_by_template":
        return
    original = InstanceBackend.run_instances

    def run_instances_by_template(
        self: EC2Backend,
        image_id: str,
        count: int,
        user_data: Base64EncodedString | None,
        security_group_names: list[str],
        **request: Any,
    ) -> Reservation:
        named = request.get("launch_template")
        template = self._get_template_from_args(named).data if named else {}
        profile = profile_of(request)
        reservation = original(
            self, image_id, count, user_data, security_group_names, **filled_in(request, template)
        )
        # moto's answer gives the first of them the profile that the request names
        others = reservation.instances[1:] if profile else reservation.instances
        for name, value in (profile or profile_of_template(template)).items():
            for instance in others:
                self.associate_iam_instance_profile(instance.id, **{name: value})
        return reservation

    InstanceBackend.run_instances = run_instances_by_template  # type: ignore[method-assign, assignment]
    _make_as_many_as_there_is_room_for()
    _know_what_an_image_is_for()
    _keep_a_templates_tags_out_of_it()
    _tag_snapshots_of_images()
    _know_ec2s_quotas()
    _enable_three_regions()


def _make_as_many_as_there_is_room_for() -> None:
    """moto makes MinCount hosts, and has room for all."""
    original = InstanceResponse.run_instances

    def run(self: Any) -> Any:
        get = self._get_param

        def most(name: str, *args: Any, **kwargs: Any) -> Any:
            return get("MaxCount" if name == "MinCount" else name, *args, **kwargs)

        self._get_param = most
        return original(self)

    InstanceResponse.run_instances = run  # type: ignore[method-assign]


def _know_what_an_image_is_for() -> None:
    """moto forgets the architecture of an image that is registered."""
    original = AmisResponse.register_image

    def register(self: Any) -> Any:
        answer = original(self)
        result: Any = answer.result
        image = self.ec2_backend.amis[result["ImageId"]]
        image.architecture = self._get_param("Architecture", "i386")
        image.root_device_name = self._get_param("RootDeviceName", image.root_device_name)
        return answer

    AmisResponse.register_image = register  # type: ignore[method-assign]


def _keep_a_templates_tags_out_of_it() -> None:
    """moto puts them among those of its hosts, so that a template never is what was asked for."""
    original = LaunchTemplateBackend.create_launch_template

    def create(self: Any, name: str, description: str, data: dict[str, Any], tags: Any) -> Any:
        given = data.pop("TagSpecifications", [])
        if specified := [each for each in given if each["ResourceType"] != "launch-template"]:
            data["TagSpecifications"] = specified
        return original(self, name, description, data, tags)

    LaunchTemplateBackend.create_launch_template = create  # type: ignore[method-assign, assignment]
    # moto shows those of its creation for ever
    LaunchTemplate.tags = property(LaunchTemplate.get_tags, lambda self, tags: None)  # type: ignore[assignment]


def _tag_snapshots_of_images() -> None:
    """CreateImage with tags for its snapshot is not implemented in moto."""
    original = AmiBackend.create_image

    def create(
        self: Any, instance_id: str, name: str, description: str, tag_specifications: list[dict[str, Any]]
    ) -> Ami:
        kept = [each for each in tag_specifications if each["ResourceType"] != "snapshot"]
        image = original(self, instance_id, name, description, kept)
        for each in tag_specifications:
            for tag in each["Tags"] if each["ResourceType"] == "snapshot" else []:
                image.ebs_snapshot.add_tag(tag["Key"], tag["Value"])
        return image

    AmiBackend.create_image = create  # type: ignore[method-assign]


def _know_ec2s_quotas() -> None:
    """moto knows those of VPCs alone. MOTO_GAPS_VCPUS: what all of EC2's are; a lab has room for many."""
    original = ServiceQuotasBackend.get_service_quota

    def get(self: Any, service_code: str, quota_code: str) -> Any:
        if service_code != "ec2":
            return original(self, service_code, quota_code)
        value = float(os.environ.get("MOTO_GAPS_VCPUS", "1000"))
        return {"ServiceCode": service_code, "QuotaCode": quota_code, "Value": value}

    ServiceQuotasBackend.get_service_quota = get  # type: ignore[method-assign]


REGIONS = ("us-east-1", "eu-west-1", "ap-south-1")
"""Those that the account has enabled."""


def _enable_three_regions() -> None:
    """moto's has seventeen, and one process for them all: a look takes five times as long."""
    original = EC2Backend.describe_regions

    def describe(self: Any, region_names: list[str] | None = None) -> Any:
        return original(self, region_names or list(REGIONS))

    EC2Backend.describe_regions = describe  # type: ignore[method-assign]


def filled_in(request: Mapping[str, Any], template: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `run_instances`, with the template's word for what the request leaves open."""
    filled = dict(request)
    behaviour = "InstanceInitiatedShutdownBehavior"
    filled["instance_initiated_shutdown_behavior"] = request.get(
        "instance_initiated_shutdown_behavior"
    ) or template.get(behaviour)
    filled["metadata_options"] = request.get("metadata_options") or template.get("MetadataOptions", {})
    filled["instance_market_options"] = request.get("instance_market_options") or template.get(
        "InstanceMarketOptions"
    )
    filled["tags"] = merged_tags(
        convert_tag_spec(template.get("TagSpecifications", [])), request.get("tags", {})
    )
    if "BlockDeviceMappings" in template:  # moto would add a disk of its own
        filled.setdefault("block_device_mappings", template["BlockDeviceMappings"])
    # moto knows no groups of an interface
    interfaces = request.get("nics") or template.get("NetworkInterfaces", [])
    if interfaces and not request.get("subnet_id") and "NetworkInterfaceId" not in interfaces[0]:
        filled["nics"] = []
        filled["subnet_id"] = interfaces[0].get("SubnetId")
        filled["security_group_ids"] = request.get("security_group_ids") or interfaces[0].get("Groups", [])
        filled["associate_public_ip"] = interfaces[0].get("AssociatePublicIpAddress")
    return filled


def merged_tags(
    template: Mapping[str, Mapping[str, str]], request: Mapping[str, Mapping[str, str]]
) -> dict[str, dict[str, str]]:
    """Of each type of resource: both tags, the request's where both have one."""
    return {kind: {**template.get(kind, {}), **request.get(kind, {})} for kind in {*template, *request}}


def profile_of(request: Mapping[str, Any]) -> dict[str, str]:
    """The instance profile that a request names, as `associate_iam_instance_profile` takes it."""
    names = ("iam_instance_profile_name", "iam_instance_profile_arn")
    return {name: request[name] for name in names if request.get(name)}


def profile_of_template(template: Mapping[str, Any]) -> dict[str, str]:
    """The same, of a launch template's."""
    profile = template.get("IamInstanceProfile", {})
    if profile.get("Arn"):
        return {"iam_instance_profile_arn": profile["Arn"]}
    return {"iam_instance_profile_name": profile["Name"]} if profile.get("Name") else {}
