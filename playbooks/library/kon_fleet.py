#!/usr/bin/python
"""kon_fleet: a fleet's state at Amazon, made as it is declared."""

from __future__ import annotations

import ipaddress
import os
import subprocess
import tempfile
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: kon_fleet
short_description: Looks at a fleet, makes it as it is declared, gets to know it, or ends some of its hosts
description:
  - All calls to Amazon are made by kon's own C(kon.fleet.build), in one process.
  - Check mode changes nothing, and a diff shows each thing that would be changed.
options:
  state:
    description:
      - C(looked) says whether it can be made, and what it costs. C(ended) ends I(instances).
      - C(known) brings the key of a fleet that another machine made, and has this machine's address let in.
    type: str
    choices: [looked, present, ended, known]
    required: true
  variables:
    description: The variables of the playbook, checked.
    type: dict
    required: true
  dead_queues:
    description: Queues whose first message sets off an alarm.
    type: list
    elements: str
    default: []
  instances:
    description: Ids of the hosts that end.
    type: list
    elements: str
    default: []
author: kon contributors
"""

EXAMPLES = """
- name: Make the fleet
  kon_fleet:
    state: present
    variables: "{{ checked }}"
"""

RETURN = """
made:
  description: Ids of the hosts that were made just now.
  type: list
  elements: str
  returned: unless something is wrong
hosts:
  description: How many hosts there are to be.
  type: int
  returned: unless hosts were ended
running:
  description: Ids of the hosts that were there before.
  type: list
  elements: str
  returned: unless hosts were ended
said:
  description: What will be there and what it costs, in words.
  type: str
  returned: unless hosts were ended
expires_at:
  description: When hosts end themselves.
  type: str
  returned: unless hosts were ended
"""

ADDRESS_S = 10.0


class Unfit(Exception):
    """What stands in the way, for people."""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["looked", "present", "ended", "known"], "required": True},
            "variables": {"type": "dict", "required": True},
            "dead_queues": {"type": "list", "elements": "str", "default": []},
            "instances": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    try:
        from kon.core.errors import KonError
        from kon.experiment.load import read_prices
        from kon.fleet.build import Work, build, end_hosts, let_in, look
        from kon.fleet.clients import Clients, in_kons_words
    except ImportError as error:
        module.fail_json(msg=f"kon is not installed for {os.sys.executable}: {error}; make setup")
    given, state = module.params["variables"], module.params["state"]
    aws = None
    try:
        aws = in_kons_words(Clients)(given["region"])
        # nothing is made where it can't be: the key comes after the look
        work = Work(aws, wanted(module, "", ""), dry=module.check_mode)
        if state == "ended":
            end_hosts(aws, given["run"], module.params["instances"], work)
            module.exit_json(changed=bool(work.changes), diff=diff(work.changes), made=[])
        if state == "known":
            brought = bring_key(module, Path(given["ssh_key"]), aws, work.wanted)
            if brought:
                work = Work(aws, wanted(module, "", my_address(given)), dry=module.check_mode)
                let_in(work)
                work.changes[:0] = brought
            else:
                module.warn(
                    f"the fleet's key is not here, at {given['ssh_key']}, and is not kept with the fleet: "
                    "bring it from the machine that made the fleet, or set KON_SSH_KEY to another"
                )
            module.exit_json(changed=bool(work.changes), diff=diff(work.changes), made=[])
        prices = read_prices()
        found = look(work, prices)
        key = Path(given["ssh_key"])
        check_place_of(key, needed=not given.get("key_name"))
        made: list[str] = []
        if state == "present":
            notes = work.notes
            public, fresh = public_key(module, key, aws, work.wanted)
            # of a person's own keys, which have other comments, none goes anywhere
            is_ours = public.split(" ")[-1] == work.wanted.stem and key.exists()
            private = key.read_text() if is_ours and given["share_key"] else ""
            work = Work(aws, wanted(module, public, my_address(given)), dry=module.check_mode)
            found, made = build(work, prices, private, found)
            work.notes[:] = dict.fromkeys([*notes, *work.notes])
            work.changes[:0] = fresh
        for note in work.notes:
            module.warn(note)
        module.exit_json(
            changed=bool(work.changes),
            diff=diff(work.changes),
            made=made,
            hosts=found.hosts,
            running=found.running,
            expires_at=found.expires_at,
            said=said(found, work.wanted),
        )
    except (KonError, Unfit) as error:
        module.fail_json(msg=str(error))
    finally:
        if aws is not None:
            aws.close()


def wanted(module: AnsibleModule, public_key: str, ssh_from: str) -> Any:
    from kon.fleet.build import Wanted

    given = module.params["variables"]
    return Wanted(
        fleet=given["run"],
        region=given["region"],
        hosts=given.get("workers"),
        types=given.get("instance_type") or ["-"],
        spot=given.get("spot", False),
        cpu_credits=given.get("cpu_credits", "standard"),
        disk_gb=given.get("disk_gb", 8),
        image_id=given.get("image_id", ""),
        image_owner=given.get("image_owner", ""),
        image_name=given.get("image_name", ""),
        image_user=given.get("image_user", ""),
        hours=given.get("expires_h", 4.0),
        expiry_check_s=given.get("expiry_check_s", 60),
        most_usd=given.get("max_cost", 0.0),
        own_network=given.get("own_network", False),
        cidr=given.get("network_cidr", ""),
        subnets=given.get("subnet_ids", []),
        group=given.get("security_group_id", ""),
        profile=given.get("instance_profile", ""),
        key_name=given.get("key_name", ""),
        boundary=given.get("permissions_boundary", ""),
        tags={name: str(value) for name, value in (given.get("extra_tags") or {}).items()},
        public_ip=given.get("public_ip", True),
        hop_limit=given.get("hop_limit", 1),
        alarm_mail=given.get("alarm_mail", ""),
        billing_usd=given.get("billing_usd", 10.0),
        dead_queues=module.params["dead_queues"],
        public_key=public_key,
        ssh_from=ssh_from,
    )


def my_address(given: dict[str, Any]) -> str:
    """Who may come in, as a range; empty where the security group is not ours to say."""
    if given.get("security_group_id"):
        return ""
    said = given["ssh_from"]
    if not said:
        url = given["my_address_url"]
        try:
            with urllib.request.urlopen(url, timeout=ADDRESS_S) as reply:
                said = reply.read(100).decode(errors="replace").strip()
        except OSError as error:
            raise Unfit(
                f"{url} does not tell this machine's address: {error}. Say it with -e ssh_from=... "
                "Nothing was made"
            ) from error
    try:
        return str(ipaddress.IPv4Network(said, strict=False))
    except ValueError as error:
        raise Unfit(
            f"ssh_from: {said!r} is no IPv4 address and no range of them. Nothing was made"
        ) from error


def check_place_of(key: Path, needed: bool) -> None:
    """needed: it is made where it is not there."""
    if key.exists():
        if (mode := key.stat().st_mode & 0o7777) not in (0o400, 0o600):
            raise Unfit(
                f"{key} can be read by others (mode {mode:04o}), and ssh refuses such a key: chmod 600 {key}"
            )
        return
    place = next(each for each in key.parents if each.exists())
    if needed and not (place.is_dir() and os.access(place, os.W_OK | os.X_OK)):
        raise Unfit(
            f"the fleet's key can't be written to {key}: {place} takes no files. Name another place, with "
            "-e ssh_key=... and KON_SSH_KEY. Nothing was made"
        )


def public_key(module: AnsibleModule, key: Path, aws: Any, fleet: Any) -> tuple[str, list[Any]]:
    """The public half of the key, made where there is none yet, and that change."""
    from kon.fleet.build import Change

    if fleet.key_name:
        return "", []
    if key.exists():
        return run(["ssh-keygen", "-y", "-f", str(key)]), []
    named = [{"Name": "key-name", "Values": [fleet.stem]}]
    if aws("ec2").describe_key_pairs(Filters=named)["KeyPairs"]:
        brought = bring_key(module, key, aws, fleet)
        if brought:
            return run(["ssh-keygen", "-y", "-f", str(key)]) if key.exists() else "", brought
        raise Unfit(
            f"EC2 has the key pair {fleet.stem}, and its private half is neither here, at {key}, nor kept "
            "with the fleet: bring it from the machine that made the fleet, or name it with -e ssh_key=... "
            "Nothing was changed"
        )
    if not module.check_mode:
        key.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", fleet.stem, "-f", str(key)])
        return run(["ssh-keygen", "-y", "-f", str(key)]), [Change("key", "", str(key))]
    return "", [Change("key", "", str(key))]


def bring_key(module: AnsibleModule, key: Path, aws: Any, fleet: Any) -> list[Any]:
    """The change by which the key that is kept with the fleet comes here; none where it is not kept."""
    from kon.fleet.build import Change, kept_key

    kept = kept_key(aws, fleet.fleet)
    if kept is None:
        return []
    if not module.check_mode:
        write_whole(key, kept)
    return [Change("key", "", f"{key}, as it is kept with the fleet")]


def write_whole(key: Path, text: str) -> None:
    """Write it so that nobody ever finds a part of it: a part would be taken for the key. Where another call
    has brought it meanwhile, that one stays."""
    try:
        key.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        number, fresh = tempfile.mkstemp(prefix=f".{key.name}.", dir=key.parent)
        try:
            with os.fdopen(number, "w") as file:
                file.write(text)
            with suppress(FileExistsError):
                os.link(fresh, key)
        finally:
            Path(fresh).unlink()
    except OSError as error:
        raise Unfit(
            f"the fleet's key can't be written to {key}: {error.strerror}. Make room there, or name another "
            "place with -e ssh_key=... and KON_SSH_KEY. Nothing was changed"
        ) from error


def run(command: list[str]) -> str:
    ended = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if ended.returncode != 0:
        raise Unfit(f"{' '.join(command[:3])}: {ended.stderr.strip()}. Nothing was made")
    return ended.stdout.strip()


def diff(changes: list[Any]) -> list[dict[str, str]]:
    return [
        {
            "before_header": each.thing,
            "after_header": each.thing,
            "before": f"{each.before}\n" if each.before else "",
            "after": f"{each.after}\n",
        }
        for each in changes
    ]


def said(found: Any, fleet: Any) -> str:
    price = found.price
    types = " or ".join(fleet.types)
    zones = ", ".join(dict.fromkeys(each.zone for _, each in found.places))
    cost = f"no price is known for {', '.join(price.unknown)}"
    if price.most_usd is not None:
        cost = f"$ {price.hour_usd:.4f} an hour, at most $ {price.most_usd:.4f} until they end themselves"
    return (
        f"{found.hosts} x {types}{' (spot)' if fleet.spot else ''} in {fleet.region} ({zones}), account "
        f"{found.account}, from {found.image.id} {found.image.name} ({found.image.architecture}): "
        f"{cost} at {found.expires_at} ({price.parts})"
    )


if __name__ == "__main__":
    main()
