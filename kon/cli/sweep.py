"""`kon sweep`"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from kon.cli.cost import prices_option
from kon.cli.output import json_option, note, print_json
from kon.core.errors import counted
from kon.experiment.load import read_prices
from kon.fleet.sweep import Found, look, remove
from kon.fleet.thing import Filter, Thing
from kon.report.tables import draw

EXIT_LEFT: Final = 5
"""The exit code where something is left, or nobody knows."""

_TROUBLES: Final = 20
"""Lines of troubles that are told, at most."""


@click.command()
@click.option("--fleet", metavar="RUN", help="Only what belongs to this fleet, as playbooks name it.")
@click.option("--all", "everything", is_flag=True, help="Everything of kon's, of every fleet and every user.")
@click.option("--region", "regions", multiple=True, help="Look only there.  [default: all that are enabled]")
@click.option("--yes", is_flag=True, help="Remove all that is found, and wait until it is gone.")
@prices_option
@json_option
@click.pass_context
def sweep(
    ctx: click.Context,
    /,
    fleet: str | None,
    everything: bool,
    regions: tuple[str, ...],
    yes: bool,
    prices_file: Path,
    as_json: bool,
) -> None:
    """Find what kon has left at Amazon, in all regions, and what each costs an hour.

    kon tags everything that it makes with Project=kon: hosts, disks, groups, keys, roles, alarms, queues,
    tables, buckets. With --yes it is removed, buckets with all that is in them; --fleet or --all must say
    whose. The exit code is 5 if something is left.

    \b
    Examples:
      kon sweep
      kon sweep --fleet r1 --yes
      kon sweep --all --yes
    """
    if everything and fleet is not None:
        raise click.UsageError(f"--all and --fleet {fleet}: say one of them. Nothing was removed")
    if yes and fleet is None and not everything:
        raise click.UsageError(
            "--yes removes, and whose is not said: --fleet NAME for one fleet's things, --all for everything "
            "that is kon's, other people's included. Nothing was removed"
        )
    prices = read_prices(prices_file)
    wanted = Filter(fleet)
    removed: list[Thing] = []
    if yes:

        def on_removed(thing: Thing) -> None:
            removed.append(thing)
            if not as_json:
                note(f"removed {thing.kind} {thing.name or thing.id} in {thing.region}")

        found = remove(wanted, prices, regions, on_removed=on_removed)
    else:
        found = look(wanted, prices, regions)
    if as_json:
        print_json(
            {
                "left": [_object(each) for each in found.things],
                "removed": [_object(each) for each in removed],
                "usd_per_hour": round(found.usd_per_hour, 6),
                "regions": found.regions,
                "troubles": found.troubles,
            }
        )
    else:
        _print(found, fleet)
    ctx.exit(EXIT_LEFT if found.things or found.troubles else 0)


def _print(found: Found, fleet: str | None) -> None:
    whose = f"the fleet {fleet}" if fleet else "kon"
    for trouble in found.troubles[:_TROUBLES]:
        note(f"kon: {trouble}")
    if len(found.troubles) > _TROUBLES:
        note(f"kon: and {len(found.troubles) - _TROUBLES} more of the kind")
    if found.troubles and not found.things:
        note(f"nothing of {whose} was found, but not all could be looked at: mend that, and sweep again")
        return
    if not found.things:
        note(f"nothing of {whose} is left in {counted(len(found.regions), 'region')}")
        return
    rows = [
        [each.region, each.kind, each.name, each.id, each.run, each.expires_at, _usd(each.usd_per_hour)]
        for each in found.things
    ]
    headers = ["region", "kind", "name", "id", "run", "expires", "$ an hour"]
    click.echo(draw(rows, headers, ["left"] * 6 + ["right"]))
    note(f"there now: {counted(len(rows), 'thing')} of {whose}, for {_usd(found.usd_per_hour)} $ an hour")


def _usd(amount: float | None) -> str:
    return "unknown" if amount is None else f"{amount:.4f}" if amount else "0"


def _object(thing: Thing) -> dict[str, Any]:
    return {
        "region": thing.region,
        "kind": thing.kind,
        "name": thing.name,
        "id": thing.id,
        "run": thing.run,
        "expires_at": thing.expires_at,
        "usd_per_hour": thing.usd_per_hour,
    }
