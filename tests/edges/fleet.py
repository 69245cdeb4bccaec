"""What the playbooks `provision` and `scale` do at Amazon, by the same code, without Ansible."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Mapping
from typing import Final

from kon.backends.prices import usual_prices
from kon.core.errors import KonError
from kon.fleet.build import Wanted, Work, build, end_hosts
from kon.fleet.clients import Clients, in_kons_words
from kon.fleet.thing import Filter

FLEET: Final = "r1"
REGION: Final = "us-east-1"
_KEY: Final = (
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJqYl2cB3bDq0qk7m1dHqkBGvkMwpp4ycMMGa8vNRxpB konf-r1"  # nobody's
)
_IMAGE: Final = "ami-12c6146b"
_STEP_S: Final = 2.0


def _made(aws: Clients, hosts: int) -> list[str]:
    ticks = itertools.count()
    wanted = Wanted(
        fleet=FLEET,
        region=REGION,
        hosts=hosts,
        types=["t3.micro"],
        image_id=_IMAGE,
        public_key=_KEY,
        ssh_from="203.0.113.7/32",
        own_network=True,
        alarm_mail="me@example.org",
        dead_queues=[f"konf-{FLEET}-e-dead"],
    )
    # a clock that goes on by being looked at: nothing that takes its time here takes a person's
    work = Work(aws, wanted, now_s=lambda: _NOW_S + _STEP_S * next(ticks), sleep=lambda seconds: None)
    build(work, usual_prices(), "a key")
    return _hosts(aws)


_NOW_S: Final = 1_800_000_000.0


def _hosts(aws: Clients) -> list[str]:
    hosts: list[str] = in_kons_words(_listed)(aws)
    return hosts


def _listed(aws: Clients) -> list[str]:
    groups = aws.pages("ec2", "describe_instances", "Reservations", Filters=Filter(FLEET).ec2)
    hosts = [each for group in groups for each in group["Instances"]]
    return sorted(each["InstanceId"] for each in hosts if each["State"]["Name"] in ("pending", "running"))


def provision(aws: Clients) -> None:
    _made(aws, hosts=1)


def scale(aws: Clients) -> None:
    """One host more, and then one less."""
    hosts = _made(aws, hosts=2)
    if len(hosts) > 1:
        end_hosts(aws, FLEET, hosts[1:], Work(aws, Wanted(fleet=FLEET, region=REGION, types=["-"])))


COMMANDS: Final[Mapping[str, Callable[[Clients], None]]] = {"provision": provision, "scale": scale}


def main(command: str) -> None:
    """As the module `kon_fleet` ends: what kon raises on purpose is a line, all else a traceback."""
    aws = Clients(REGION)
    try:
        COMMANDS[command](aws)
    except KonError as error:
        print(f"kon: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from error
    except KeyboardInterrupt as error:
        print("kon: interrupted", file=sys.stderr)
        raise SystemExit(130) from error
    finally:
        aws.close()
