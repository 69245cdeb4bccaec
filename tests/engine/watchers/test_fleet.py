"""The unit of a fleet's workers hands on what they are to find in their environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from jinja2 import Environment, StrictUndefined
from jinja2.nativetypes import NativeEnvironment

PLAYBOOKS: Final = Path(__file__).parents[3] / "playbooks"
UNIT: Final = PLAYBOOKS / "roles/machine/templates/kon-worker@.service.j2"


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


@pytest.mark.parametrize(
    ("extras", "environment", "installed"),
    [
        ([], {}, []),
        (["image"], {"KON_LOG_FORMAT": "json"}, ["image"]),
        (["image"], {"KON_METRICS": 9464}, ["image", "metrics"]),
        (["metrics"], {"KON_METRICS": "127.0.0.1:9464"}, ["metrics"]),
    ],
)
def test_configure_installs_what_workers_that_serve_metrics_need(
    extras: list[str], environment: dict[str, Any], installed: list[str]
) -> None:
    plays = yaml.safe_load((PLAYBOOKS / "configure.yml").read_text())
    [given] = [play["vars"] for play in plays if "machine_extras" in play.get("vars", {})]
    inventory = {"extras": extras, "worker_environment": environment}
    rendered = {
        name: NativeEnvironment().from_string(given[name]).render(inventory)
        for name in ("machine_extras", "machine_environment")
    }
    assert rendered == {"machine_extras": installed, "machine_environment": environment}
