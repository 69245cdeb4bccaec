"""`kon cost`"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from kon.backends.prices import FILE
from kon.cli.output import json_option, note, print_json
from kon.cli.runs import find_run, root_option, run_argument
from kon.core.errors import ConfigurationError, counted
from kon.core.plugins import backend_class
from kon.engine.records.records import RunFolder
from kon.experiment.load import read_prices
from kon.report.read.tally import tally_run
from kon.report.summary import Cost, cost_of
from kon.report.tables import draw

_SERVICES: Final = {
    "SQS": ("sqs", {"sqs.requests": "requests", "sqs.fifo_requests": "FIFO requests"}),
    "DynamoDB": (
        "dynamodb",
        {"dynamodb.write_units": "write units", "dynamodb.read_units": "read units"},
    ),
    "S3": ("s3", {"s3.put_requests": "PUT and LIST", "s3.get_requests": "GET"}),
}
"""By the name on the bill: the service's in the records, and what is billed of it."""

prices_option = click.option(
    "--prices",
    "prices_file",
    type=click.Path(path_type=Path),
    default=FILE,
    help="A file of prices, in place of the one that comes with kon.",
)


@click.command()
@run_argument
@root_option
@prices_option
@json_option
def cost(run: str, root: Path, prices_file: Path, as_json: bool) -> None:
    """Say what the requests of RUN cost, from what was really sent: by service, and for a million tasks.

    Hosts, storage and free tiers are not in it: docs/costs.md has all that is. The exit code is 2 if the
    run's records do not say what was billed.

    \b
    Examples:
      kon cost exp-lease-w4-r1
      kon cost exp-lease-w4-r1 --prices eu-central-1.yml --json
    """
    prices = read_prices(prices_file)
    folder = find_run(run, root)
    spec = folder.read_run().spec
    tally = tally_run(folder, spec.tasks)
    billed = tally.billed
    if billed is None:
        raise ConfigurationError(
            f"run {spec.run}: its records say nothing of what was billed: {_why(folder)}"
        )
    found = cost_of(spec, billed, tally.wall_s, prices)
    if not folder.finished:
        note(
            f"{spec.run} is not over: this is what its workers, and clients that have ended, have "
            f"reported so far"
        )
    if as_json:
        print_json({"run": spec.run, "backend": spec.backend.name, "tasks": spec.tasks, **_object(found)})
    else:
        click.echo(_text(spec.run, spec.backend.name, spec.tasks, found))


def _why(folder: RunFolder) -> str:
    name = folder.read_run().spec.backend.name
    if backend_class(name).virtual_time:
        return "it was simulated without a model of Amazon, such as latency: aws-us-east-1"
    if name != "aws":
        return f"requests to its backend, {name}, cost nothing"
    if not folder.finished:
        return "no worker has reported its requests yet"
    return "they are older than that; run it again"


def _object(found: Cost) -> dict[str, Any]:
    return {
        "requests_by_service": found.requests,
        "billed": found.billed,
        "gb": {"sent": found.out_gb, "received": found.in_gb},
        "dollars": {name: _six_digits(amount) for name, amount in found.dollars.items()},
        "dollars_in_all": _six_digits(found.dollars_in_all),
        "dollars_per_million_tasks": _six_digits(found.dollars_per_million_tasks),
        "traffic_dollars": _six_digits(found.traffic_dollars),
        "prices": {"region": found.region, "date": found.date},
    }


def _text(run: str, backend: str, tasks: int, found: Cost) -> str:
    where = f"{found.region}, {found.date}"
    lines = [_line(name, found) for name in _SERVICES]
    known = {service for service, _ in _SERVICES.values()}
    lines += [
        [name.upper(), f"{sent:,}", "", "0"] for name, sent in found.requests.items() if name not in known
    ]
    lines.append(["in all", f"{sum(found.requests.values()):,}", "", _dollars(found.dollars_in_all)])
    table = draw(lines, ["service", "requests", "billed", "$"], ["left", "right", "left", "right"])
    per_task = sum(found.requests.values()) / tasks
    parts = [
        f"{run}: {counted(tasks, 'task')} on {backend}; prices of {where}, without hosts",
        table,
        f"A million such tasks: ${_dollars(found.dollars_per_million_tasks)} for {per_task * 1e6:,.0f} "
        f"requests ({where}).",
    ]
    if found.in_gb or found.out_gb:
        parts.append(
            f"Sent {_gb(found.out_gb)}, received {_gb(found.in_gb)}: free within the region; to a client and "
            f"workers elsewhere, ${_dollars(found.traffic_dollars)} more ({where})."
        )
    return "\n\n".join(parts)


def _line(name: str, found: Cost) -> list[str]:
    service, units = _SERVICES[name]
    billed = [f"{found.billed[key]:,.10g} {what}" for key, what in units.items() if found.billed.get(key)]
    sent = found.requests.get(service, 0)
    return [name, f"{sent:,}", ", ".join(billed), _dollars(found.dollars[name])]


def _dollars(amount: float) -> str:
    """Three digits, however little it is."""
    if amount == 0 or amount >= 100:
        return f"{amount:,.0f}"
    digits = 2
    while amount < 10 ** (2 - digits) and digits < 12:
        digits += 1
    return f"{amount:.{digits}f}"


def _six_digits(amount: float) -> float:
    return float(f"{amount:.6g}")


def _gb(amount: float) -> str:
    return f"{_dollars(amount)} GB"
