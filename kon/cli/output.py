"""What goes to stdout, and what is said beside it on stderr."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import click
import msgspec

JSON_SCHEMA: Final = 1
"""Of the objects that --json prints; raised when a name in them changes its meaning or goes."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object, and nothing else.")

quiet_option = click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors on stderr.")


def note(text: str) -> None:
    """Say something to a person: data goes to stdout, talk to stderr."""
    click.echo(text, err=True)


def print_json(value: dict[str, Any]) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode({"schema": JSON_SCHEMA, **value}), indent=2))


def print_rows(experiment: str, rows: Iterable[dict[str, Any]]) -> None:
    """The object of the contract: an experiment's runs, a row each."""
    runs = [{key: value for key, value in row.items() if key != "schema"} for row in rows]
    print_json({"experiment": experiment, "runs": runs})


def print_tables(rows: Sequence[dict[str, Any]], title: str = "") -> None:
    """The tables of these rows."""
    from kon.report.tables import tables

    click.echo(f"{title}\n{tables(rows)}" if title else tables(rows))
