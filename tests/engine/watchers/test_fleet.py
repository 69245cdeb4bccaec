"""The unit of a fleet's workers hands on what they are to find in their environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from jinja2 import Environment, StrictUndefined
from jinja2.nativetypes import NativeEnvironment

PLAYBOOKS: Final = Path(__file__).parents[3] / "playbooks"
TEMPLATES: Final = PLAYBOOKS / "roles/machine/templates"


def environment_file(**environment: Any) -> list[str]:
    """What Ansible makes of /etc/kon/worker.env, which root alone can read: the file may hold secrets."""
    text = (TEMPLATES / "worker.env.j2").read_text()
    template = Environment(undefined=StrictUndefined, trim_blocks=True).from_string(text)
    return template.render(machine_environment=environment).splitlines()


def test_workers_find_what_the_inventory_says() -> None:
    lines = environment_file(KON_METRICS=9464, KON_LOG_FORMAT="json")
    assert lines[1:] == ['KON_METRICS="9464"', 'KON_LOG_FORMAT="json"']
    assert "EnvironmentFile=-/etc/kon/worker.env" in (TEMPLATES / "kon-worker@.service.j2").read_text()


def test_nothing_is_handed_on_where_nothing_is_said() -> None:
    assert environment_file()[1:] == []


def test_what_systemd_would_read_otherwise_is_escaped() -> None:
    """Its own rules for quotes in such a file, of systemd.exec(5)."""
    assert environment_file(A='a "b" \\ $c `d`')[1:] == [r'A="a \"b\" \\ \$c \`d\`"']


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
    inventory = {"checked": {"extras": extras}, "worker_environment": environment}
    rendered = {
        name: NativeEnvironment().from_string(given[name]).render(inventory)
        for name in ("machine_extras", "machine_environment")
    }
    assert rendered == {"machine_extras": installed, "machine_environment": environment}
