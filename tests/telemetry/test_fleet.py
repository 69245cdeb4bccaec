"""The unit of a fleet's workers hands on what they are to find in their environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, StrictUndefined

UNIT: Final = Path(__file__).parents[2] / "playbooks/roles/machine/templates/kon-worker@.service.j2"


def unit(**environment: Any) -> list[str]:
    """As Ansible renders it."""
    template = Environment(undefined=StrictUndefined, trim_blocks=True).from_string(UNIT.read_text())
    given = {"account": "kon", "payload": "/p", "home": "/h", "state": "/s", "environment": environment}
    return template.render({f"machine_{name}": value for name, value in given.items()}).splitlines()


def test_workers_find_what_the_inventory_says() -> None:
    lines = unit(KON_METRICS=9464, KON_LOG_FORMAT="json")
    assert 'Environment="KON_METRICS=9464"' in lines
    assert 'Environment="KON_LOG_FORMAT=json"' in lines
    assert lines.index('Environment="KON_METRICS=9464"') < lines.index(
        next(x for x in lines if "ExecStart" in x)
    )


def test_nothing_is_handed_on_where_nothing_is_said() -> None:
    assert not [line for line in unit() if line.startswith("Environment=")]
    assert "" not in unit()[unit().index("[Service]") :]


def test_what_systemd_would_read_otherwise_is_escaped() -> None:
    """Its own rules for quotes, backslashes and specifiers, of systemd.syntax(7) and systemd.unit(5)."""
    assert r'Environment="A=a \"b\" \\ 100%%h"' in unit(A='a "b" \\ 100%h')
