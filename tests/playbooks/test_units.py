"""The units that `run` starts on a fleet's hosts, and which of them it stops, by what becomes of its client.

Hosts are stand-ins: this machine's shell, with a folder in the place of /etc/kon and a systemctl that notes
what it is asked for. The client is one that says which run there is, and ends with the code that is wanted.
"""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Final

import pytest

from tests.lab import servers
from tests.playbooks.plays import PROJECT, Ansible, Operator, Play

SHELL: Final = """\
#!/bin/sh
# a host: what stands in /etc/kon there stands in its own folder
export PATH={host}/bin:$PATH
sed 's|/etc/kon/|{host}/etc/|g' | /bin/sh "$@"
"""

SYSTEMCTL: Final = """\
#!/bin/sh
case "$*" in
*is-active*) exec test -e {host}/active ;;
start*|restart*) touch {host}/active ;;
stop*) rm {host}/active ;;
esac
echo "$1" >>{host}/asked
"""

KON: Final = """\
#!/bin/sh
case "$*" in
*--dry-run*) echo '{{"runs": [{{"run": "x-lease-w1-r1", "would": "made", "hosts": 1, "kind": "sleep"}}]}}' ;;
*--join*) exit {code} ;;
esac
"""


class Hosts:
    """A fleet of two such hosts, h1 and h2."""

    names = ("h1", "h2")

    def __init__(self, folder: Path, ansible: Ansible) -> None:
        self.folder = folder
        home = folder / "opt"
        (home / "0123").mkdir(parents=True)
        (home / "0123/installed").touch()
        (home / "current").symlink_to("0123")
        for name in self.names:
            (folder / name / "etc").mkdir(parents=True)
            (folder / name / "bin").mkdir()
            (folder / name / "asked").touch()
            _program(folder / name / "shell", SHELL.format(host=folder / name))
            _program(folder / name / "bin/systemctl", SYSTEMCTL.format(host=folder / name))
        (folder / "group_vars").symlink_to(PROJECT / "inventory/group_vars")
        here = {"ansible_connection": "local", "ansible_become": False}
        hosts = {
            each: {**here, "ansible_shell_executable": str(folder / each / "shell")} for each in self.names
        }
        (folder / "inventory.yml").write_text(
            json.dumps({"workers": {"children": {"run_r1": {"hosts": hosts}}}})
        )
        nowhere = servers.variables("http://127.0.0.1:1")
        self.operator = Operator(folder, nowhere, home=str(home), region="us-east-1", project=str(folder))
        self.operator.inventory = str(folder / "inventory.yml")
        self.operator.ansible = ansible

    def run(self, code: int) -> Play:
        """Have the client end with that code."""
        client = self.folder / "kon"
        _program(client, KON.format(code=code))
        return self.operator.play("run", run="r1", kon=[str(client)], experiment="x.yml", out="out")

    def asked(self) -> dict[str, list[str]]:
        """What each host's systemctl was asked for, since the last look."""
        found = {}
        for name in self.names:
            file = self.folder / name / "asked"
            found[name] = file.read_text().split()
            file.write_text("")
        return found


def _program(file: Path, text: str) -> None:
    file.write_text(text)
    file.chmod(stat.S_IRWXU)


@pytest.fixture
def hosts(tmp_path: Path, ansible: Ansible) -> Hosts:
    (tmp_path / "x.yml").touch()
    return Hosts(tmp_path, ansible)


@pytest.mark.long
def test_a_client_that_could_not_go_on_leaves_no_unit_on_that_its_call_has_started(hosts: Hosts) -> None:
    """Others may be those of another call, whose client has the run: they stay."""
    interrupted = hosts.run(3)
    assert interrupted.exit_code == 2, interrupted.output
    assert hosts.asked() == {"h1": ["restart"], "h2": ["restart"]}, "the same call goes on with them"
    (hosts.folder / "h2/active").unlink()
    refused = hosts.run(2)
    assert "kon run ended with exit code 2" in refused.said, refused.output
    assert hosts.asked() == {"h1": [], "h2": ["start", "stop"]}


@pytest.mark.long
def test_a_unit_that_was_at_work_under_another_plan_stays(hosts: Hosts) -> None:
    assert hosts.run(3).exit_code == 2
    hosts.asked()
    plan = hosts.folder / "h1/etc/r1.json"
    plan.write_text(json.dumps({**json.loads(plan.read_text()), "number": 7}))
    hosts.run(2)
    assert hosts.asked() == {"h1": ["restart"], "h2": []}


def test_where_one_unit_can_t_be_started_none_is_left_on_that_this_call_has_started(hosts: Hosts) -> None:
    """It would wait for a client that never comes, and refuse what the next call wants of it."""
    (hosts.folder / "h1/etc/r1.json").write_text(json.dumps({"runs": [{"run": "other"}]}))
    (hosts.folder / "h1/active").touch()
    refused = hosts.run(0)
    assert refused.exit_code == 2, refused.output
    assert "it works on other, of another call" in refused.said
    assert "Those that this call has started are stopped again" in refused.said
    assert hosts.asked() == {"h1": [], "h2": ["restart", "stop"]}
