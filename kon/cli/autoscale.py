"""`kon autoscale` and `kon equip`"""

from __future__ import annotations

import asyncio
import hashlib
import signal
import time
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from kon.cli.cost import prices_option
from kon.cli.interrupts import ending_signals
from kon.cli.output import json_option, note, print_json
from kon.core.distribution import version
from kon.core.errors import Interrupted, counted
from kon.experiment.load import read_prices
from kon.fleet.autoscale.demand import Demand
from kon.fleet.autoscale.equipment import PLACE, Equipment, FleetBucket, packed
from kon.fleet.autoscale.equipment import equip as put_equipment
from kon.fleet.autoscale.hosts import Ec2Hosts
from kon.fleet.autoscale.loop import Autoscaler, Look
from kon.fleet.autoscale.policy import Policy, read_policy
from kon.fleet.clients import Clients
from kon.fleet.thing import Filter

EXIT_SPENT = 4
"""The exit code where `max_cost` is used up."""


@click.command()
@click.argument("fleet")
@click.option(
    "--policy",
    "policy_file",
    type=click.Path(path_type=Path),
    required=True,
    help="A file that says how many hosts there should be: docs/operations.md.",
)
@click.option("--once", is_flag=True, help="Look once, act, and end: for cron and the like.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--json", "as_json", is_flag=True, help="Print each look as a line of JSON.")
@click.option("--region", help="Where the fleet is.  [default: that of the credentials]")
@prices_option
@click.pass_context
def autoscale(
    ctx: click.Context,
    /,
    fleet: str,
    policy_file: Path,
    once: bool,
    dry_run: bool,
    as_json: bool,
    region: str | None,
    prices_file: Path,
) -> None:
    """Keep as many hosts in FLEET as its queues ask for, by a policy, until told to stop.

    Hosts are made from the fleet's launch template, become workers by themselves, take part in all runs of
    the fleet, and are drained before they go. SIGTERM and Ctrl-C end this command, and no host: those that
    are there stay until they end themselves (ExpiresAt). The same command goes on where it stood. The exit
    code is 4 once max_cost is used up and the last host has gone.

    \b
    Examples:
      kon plan exp.yml --autoscale policy.yml
      kon autoscale r1 --policy policy.yml --dry-run --once
      kon autoscale r1 --policy policy.yml
    """
    policy, prices = read_policy(policy_file), read_prices(prices_file)
    Filter(fleet)
    aws = Clients(region)
    demand = Demand(fleet, region, policy, time.time)
    hosts, bucket = Ec2Hosts(aws, fleet), FleetBucket(aws, fleet)
    scaler = Autoscaler(policy, prices, hosts, bucket, demand.look, time.time, dry_run)
    try:
        spent = asyncio.run(_run(scaler, demand, policy, once, as_json))
    finally:
        aws.close()
    ctx.exit(EXIT_SPENT if spent else 0)


async def _run(scaler: Autoscaler, demand: Demand, policy: Policy, once: bool, as_json: bool) -> bool:
    """Whether it ended as the money is spent."""
    told: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def tell(number: int) -> None:
        if not told.done():
            told.set_result(number)

    for number in ending_signals():
        asyncio.get_running_loop().add_signal_handler(number, tell, number)
    try:
        await scaler.begin()
        while True:
            look = await scaler.look()  # one that was begun is ended: half of one would leave hosts uncounted
            click.echo(msgspec.json.encode(look).decode() if as_json else _line(look))
            for each in look.notes:
                note(f"kon: {each}")
            if look.spent and not look.hosts and not look.draining:
                return True
            if once:
                return False
            await asyncio.wait({told}, timeout=policy.look_s)
            if told.done():
                break
    finally:
        await demand.close()
    note("ended; hosts that are there stay until their ExpiresAt, and the same command goes on")
    if told.result() == signal.SIGINT:
        raise Interrupted("interrupted")
    return False


def _line(look: Look) -> str:
    at = datetime.fromtimestamp(look.at_s, UTC).strftime("%H:%M:%SZ")
    if look.why == "not known":
        return f"{at}  not known: left as it is"
    hosts = counted(look.hosts, "host")
    parts = [f"{look.booting} booting"] if look.booting else []
    parts += [f"{look.draining} draining"] if look.draining else []
    hosts += f" ({', '.join(parts)})" if parts else ""
    change = f"{look.change:+d}" if look.change else "stays"
    queued = f"{look.messages:,} queued, {look.in_flight:,} held"
    return f"{at}  {hosts}; {queued}: {change}: {look.why}; ${look.spent_usd:.4f}"


@click.command()
@click.argument("fleet")
@click.argument("bundle", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--digest", required=True, help="What tells this bundle from others.")
@click.option("--home", required=True, help="Where kon is installed on hosts.")
@click.option("--state", required=True, help="Where hosts keep their part of the records.")
@click.option("--package", "packages", multiple=True, help="A package of the system's that tasks need.")
@click.option(
    "--payload",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A folder that tasks need.",
)
@click.option("--region", help="Where the fleet is.  [default: that of the credentials]")
@json_option
def equip(
    fleet: str,
    bundle: Path,
    digest: str,
    home: str,
    state: str,
    packages: tuple[str, ...],
    payload: Path | None,
    region: str | None,
    as_json: bool,
) -> None:
    """Put what hosts of FLEET install into its bucket, for those that `kon autoscale` makes.

    playbooks/configure.yml calls it with the bundle that it copies to the other hosts. A second time it
    changes nothing. Where the fleet has no bucket yet, as no run of it was provided for, it says so.

    \b
    Example:
      kon equip r1 host-3.11.tar.gz --digest 0f3a --home /opt/kon --state /var/lib/kon
    """
    Filter(fleet)
    body = None if payload is None else packed(payload)
    key = "" if body is None else f"{PLACE}payload-{hashlib.sha256(body).hexdigest()[:16]}.tar"
    wanted = Equipment(digest, home, state, sorted(packages), key, version())
    changed = put_equipment(fleet, region, wanted, bundle, body)
    if changed is None:
        note(f"the fleet {fleet} has no bucket yet: its hosts can't be made by `kon autoscale`")
    if as_json:
        print_json({"changed": bool(changed), "digest": digest})
