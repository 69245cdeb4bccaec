"""`make try-fleet`: a fleet's day with no account and no root.

Amazon is moto and MiniStack, on this machine. The fleet's hosts are entries in moto alone: nobody can log in
there, so that `configure` is in check mode and looks at this machine instead. The run is worked on by hosts
that are processes here, over the queues and the table of the emulator. `make test-fleet` has real hosts.
The operator has the documented rights (docs/security.md) and no others.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from kon.backends.aws.policies import policy
from kon.backends.emulator import started
from tests.lab import servers
from tests.lab.rights import OPERATOR, rights
from tests.playbooks.plays import IMAGE, PROJECT, Operator

FLEET: Final = "try"
EXPERIMENT: Final = (
    "name: tried\nworkload: {kind: sleep, count: 40, seconds: 0.05}\nworkers: 2\nvisibility_s: 5\n"
)

_BACKEND: Final = ("backend.name=aws", f"backend.prefix=konf-{FLEET}", "backend.region=us-east-1")

STEPS: Final[tuple[tuple[str, Sequence[str], dict[str, Any]], ...]] = (
    ("validate", (), {}),
    ("provision", (), {}),
    ("configure", ("--check",), {}),
    ("run", (), {"set": list(_BACKEND)}),
    ("scale", (), {"workers": 0}),
    ("teardown", (), {"region": "us-east-1"}),
)


def main() -> int:
    """Play each step; exit code 1 at the first that fails, with what it said."""
    theirs = rights(policy("worker", "konf"))  # as workers are processes of the operator's
    with tempfile.TemporaryDirectory() as place, started("ministack", strict=theirs) as data:
        folder = Path(place)
        (folder / "tried.yml").write_text(EXPERIMENT)
        with servers.moto("127.0.0.1", 0, folder / "moto.log") as api:
            operator = Operator(folder, servers.variables(api, data.endpoint, OPERATOR), **_variables(folder))
            return _play(operator)


def _variables(folder: Path) -> dict[str, Any]:
    return {
        "run": FLEET,
        "experiment": str(folder / "tried.yml"),
        "out": str(folder / "out"),
        "image_id": IMAGE,
        "ssh_from": "203.0.113.7",
        "ssh_key": str(folder / "keys/key"),
        "packages": [],
        "ansible_connection": "local",
        "ansible_become": False,
        "home": str(folder / "opt"),
        "state": str(folder / "state"),
    }


def _play(operator: Operator) -> int:
    began_s = time.monotonic()
    for playbook, options, variables in STEPS:
        operator.inventory = Operator.inventory
        operator.variables["run"] = FLEET
        if playbook == "run":  # its hosts are processes of this machine
            operator.inventory = "inventory/local.yml"
            del operator.variables["run"]
        step_s = time.monotonic()
        print(f"ansible-playbook playbooks/{playbook}.yml {' '.join(options)}".rstrip(), flush=True)
        command = operator.command(playbook, *options, **variables)
        ended = subprocess.run(
            command, cwd=PROJECT, env=operator.environment, capture_output=True, text=True, check=False
        )
        output = ended.stdout + ended.stderr
        for price in re.findall(r"(?s)\d+ x [^:]*: (\$ .*?)\s+at 20", output):
            print(f"  {' '.join(price.split())}")
        recap = re.search(r"(?m)^localhost .*$", output)
        told = re.findall(r"\w+=[1-9]\d*", recap.group()) if recap else ["no recap"]
        print(f"  {time.monotonic() - step_s:.0f} s; {' '.join(told)}", flush=True)
        if ended.returncode != 0:
            print(output)
            return 1
    left = operator.kon("sweep", "--fleet", FLEET, "--region", "us-east-1")
    print(f"  {left.stderr.strip()}")
    print(
        f"a fleet's day took {time.monotonic() - began_s:.0f} s, and cost nothing: nobody's account was asked"
    )
    return left.returncode


if __name__ == "__main__":
    sys.exit(main())
