"""`make lab-16`: the older systems' sweep over 1 to 16 hosts, on the lab, and how long a fleet takes.

Runs in the lab, and writes its tables into docs/fleet-lab.md, between the marks there; docs/benchmarks.md has
them too.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import boto3
from tabulate import tabulate

from kon.engine.records.records import RunFolder
from tests.playbooks.plays import IMAGE, PROJECT, Operator

PAGE: Final = PROJECT / "docs/fleet-lab.md"
BEGIN: Final = "<!-- what follows is written by `make lab-16` -->"
END: Final = "<!-- up to here -->"

SCRATCH, BAKED = "scratch", "baked"

WORKER: Final = re.compile(r"w(\d+)[-.]")
"""Of a life's name: which host's it is."""

WHOLE: Final = 16

HOSTS: Final = int(os.environ.get("LAB_HOSTS", WHOLE))
"""Fewer for a try, whose tables are printed and not kept."""

SWEEP: Final = """\
name: ms-0
workload: {kind: sleep, count: 100, seconds: 0, per: worker}
strategies: [lease]
workers: WORKERS
---
name: ms-10
workload: {kind: sleep, count: 100, seconds: 0.01, per: worker}
strategies: [lease, result_once]
workers: WORKERS
---
name: ms-1000
workload: {kind: sleep, count: 5, seconds: 1, per: worker}
strategies: [lease]
workers: WORKERS
"""

SSH: Final = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "BatchMode=yes")


class Timed:
    """A fleet whose plays are timed. took_s: each play, as a whole. tasks_s: its tasks, by play and name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = folder / "keys/key"
        aws = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
        environment = {
            **aws,
            "KON_ADDRESS": "private",
            "KON_SSH_KEY": str(self.key),
            "PYTHONUNBUFFERED": "1",
        }
        self._operator = Operator(folder, environment, **self._variables())
        self.took_s: dict[str, float] = {}
        self.tasks_s: dict[tuple[str, str], float] = {}
        self.task_began_s: dict[tuple[str, str], float] = {}

    def _variables(self) -> dict[str, Any]:
        own = {"own_network": True, "ssh_from": "10.77.0.1", "workers": HOSTS}
        return {**own, "experiment": str(self.folder / "sweep.yml")}

    def play(self, label: str, playbook: str, **variables: Any) -> None:
        """Raises RuntimeError with what the play said where it fails."""
        print(f"{label} ...", end=" ", flush=True)
        began_s = time.time()
        command = self._operator.command(playbook, **variables)
        said, at = [], ("", began_s)
        with subprocess.Popen(
            command,
            cwd=PROJECT,
            env=self._operator.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                said.append(line)
                if line.startswith(("TASK [", "PLAY ")):
                    now_s = time.time()
                    self.tasks_s[label, at[0]] = self.tasks_s.get((label, at[0]), 0.0) + now_s - at[1]
                    at = (line.partition("[")[2].partition("]")[0], now_s)
                    self.task_began_s.setdefault((label, at[0]), now_s)
        if process.returncode != 0:
            raise RuntimeError(f"{label}: {''.join(said)}")
        self.took_s[label] = time.time() - began_s
        print(f"{self.took_s[label]:.1f} s", flush=True)

    def addresses(self) -> list[str]:
        ec2 = boto3.client("ec2")
        wanted = [{"Name": "instance-state-name", "Values": ["running"]}]
        found = ec2.describe_instances(Filters=wanted)["Reservations"]
        ec2.close()
        return [each["PrivateIpAddress"] for one in found for each in one["Instances"]]

    def loop(self) -> None:
        """As the older systems did it: a host after the other, copy, unpack, start; a connection for each."""
        print("a host after the other ...", end=" ", flush=True)
        bundle = max((PROJECT / ".cache/bundles").glob("kon-*.tgz"), key=lambda path: path.stat().st_mtime)
        options = ["-i", str(self.key), *(word for option in SSH for word in ("-o", option))]
        began_s = time.time()
        for address in self.addresses():
            host = f"admin@{address}"
            unpack = "sudo mkdir /opt/loop && sudo tar -C /opt/loop -xf /tmp/loop.tgz && rm /tmp/loop.tgz"
            start = "PYTHONPATH=/opt/loop/site nohup python3 -m kon --version >/dev/null 2>&1 &"
            for command in (
                ["scp", "-q", *options, str(bundle), f"{host}:/tmp/loop.tgz"],
                ["ssh", *options, host, unpack],
                ["ssh", *options, host, start],
            ):
                subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        self.took_s["loop"] = time.time() - began_s
        print(f"{self.took_s['loop']:.1f} s", flush=True)


def first_start_on_the_last_host_s(out: Path, hosts: int) -> float:
    """When the last of the hosts began with its first task, in seconds since the epoch; of the one run that
    is recorded in `out`. A host may have several worker processes, and each of them several lives.

    Raises RuntimeError where other than so many hosts have begun with a task.
    """
    [run] = [path for path in out.iterdir() if (path / "run.json").exists()]
    first: dict[str, float] = {}
    for life, line in RunFolder(run).event_lines():
        if line["e"] == "start" and (worker := WORKER.match(life)) is not None:
            host = worker[1]
            first[host] = min(first.get(host, line["t"]), line["t"])
    if len(first) != hosts:
        raise RuntimeError(f"{len(first)} hosts began with a task, and there are {hosts}: {sorted(first)}")
    return max(first.values())


def main() -> int:
    folder = Path(os.environ["KON_LAB_HOSTS"]).with_name("sixteen")  # which goes with the lab
    folder.mkdir()
    try:
        measure(folder)
    except RuntimeError as error:
        print(f"\n{error}\n{PAGE.name} is as it was.", file=sys.stderr)
        return 1
    finally:
        forget()
    return 0


def forget() -> None:
    """Leave nothing of the fleets in the project, but the bundle for whoever needs it next."""
    for name in (SCRATCH, BAKED):
        shutil.rmtree(PROJECT / ".kon/fetched" / name, ignore_errors=True)
        (PROJECT / f".kon/keys/{name}.known_hosts").unlink(missing_ok=True)


def measure(folder: Path) -> None:
    """Raises RuntimeError where a play fails, or not every task is done."""
    load = os.getloadavg()[0]
    numbers = [number for number in (1, 2, 4, 8, 16) if number <= HOSTS]
    (folder / "sweep.yml").write_text(SWEEP.replace("WORKERS", str(numbers)))
    fanned = "name: fan\nworkload: {kind: sleep, count: 3, seconds: 1, per: worker}\n"
    (folder / "fan.yml").write_text(f"{fanned}workers: {HOSTS}\n")
    fleet = Timed(folder)
    forget()
    shutil.rmtree(PROJECT / ".cache/bundles", ignore_errors=True)
    first = {"run": SCRATCH, "image_id": IMAGE, "packages": ["jq"]}
    fleet.play("provision", "provision", **first)
    fleet.play("configure", "configure", **first)
    fleet.loop()
    fleet.play("bake", "bake", **first)
    fleet.play("teardown", "teardown", **first)
    baked = {"run": BAKED, "image_id": own_image(), "packages": ["jq"]}
    fleet.play("provision, baked", "provision", **baked)
    fleet.play("configure, baked", "configure", **baked)
    fan = {"experiment": str(folder / "fan.yml"), "out": str(folder / "fan")}
    fleet.play("fan-out", "run", **{**baked, **fan})
    last_s = first_start_on_the_last_host_s(folder / "fan", HOSTS)
    fleet.play("sweep", "run", **baked, out=str(folder / "out"))
    fleet.play("teardown, baked", "teardown", **baked)
    write_page(fleet, last_s, rows(folder / "out"), load)


def own_image() -> str:
    ec2 = boto3.client("ec2")
    [image] = ec2.describe_images(Owners=["self"])["Images"]
    ec2.close()
    name: str = image["ImageId"]
    return name


def rows(out: Path) -> list[Mapping[str, Any]]:
    """The runs' summaries, in the order of the tables. Raises RuntimeError where a task is not done."""
    found = [RunFolder(path).read_summary() for path in out.iterdir() if (path / "run.json").exists()]
    if odd := [row["run"] for row in found if row["done"] != row["tasks"]]:
        raise RuntimeError(f"not every task was done: {odd}")
    return sorted(found, key=lambda row: (row["experiment"], row["strategy"], row["workers"]))


def write_page(fleet: Timed, last_s: float, summaries: list[Mapping[str, Any]], load: float) -> None:
    text = PAGE.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    body = "\n\n".join([about(load), steps(fleet, last_s), *sweeps(summaries)])
    if HOSTS != WHOLE:
        print(body)
        return
    PAGE.write_text(f"{before}{BEGIN}\n\n{body}\n\n{END}{after}")


def about(load: float) -> str:
    models = [
        line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")
    ]
    model = models[0].partition(":")[2].strip() if models else platform.machine()
    versions = {name: version(name) for name in ("ansible-core", "moto", "ministack", "boto3")}
    said = ", ".join(f"{name} {number}" for name, number in versions.items())
    return (
        f"{datetime.now(UTC):%Y-%m-%d}; {os.cpu_count()} processors ({model}), shared by all hosts; "
        f"Linux {platform.release()}, Python {platform.python_version()}, {said}. "
        f"Load of the machine before it began: {load:.1f}."
    )


def steps(fleet: Timed, last_s: float) -> str:
    """How long it takes until a fleet works."""
    took = fleet.took_s
    unit = fleet.task_began_s["fan-out", "unit : Start the worker"]
    install = fleet.tasks_s["configure", "machine : Install kon"]
    lines = [
        ("provision", took["provision"], ""),
        ("configure, from scratch: apt, and pip on the controller", took["configure"], ""),
        ("both", took["provision"] + took["configure"], "240"),
        ("provision, with an image by `bake`", took["provision, baked"], ""),
        ("configure, with that image", took["configure, baked"], ""),
        ("both", took["provision, baked"] + took["configure, baked"], "45"),
        ("`run`: from the first host that is told to the first task on the last", last_s - unit, "10"),
        ("of configure: copy, unpack, install, start on all hosts", install, ""),
        ("the same a host after the other, by scp and ssh, without installing", took["loop"], ""),
        ("bake", took["bake"], ""),
        ("teardown", took["teardown, baked"], ""),
    ]
    table = [(what, f"{took_s:.1f}", aim) for what, took_s, aim in lines]
    return f"### A fleet of {HOSTS}\n\n" + tabulate(
        table, ["step", "seconds", "wanted, at most"], tablefmt="pipe", disable_numparse=True
    )


def sweeps(summaries: list[Mapping[str, Any]]) -> list[str]:
    """A table for each length of tasks."""
    tables = []
    for name in dict.fromkeys(row["experiment"] for row in summaries):
        of_it = [row for row in summaries if row["experiment"] == name]
        lines = [
            (
                row["strategy"],
                row["workers"],
                f"{row['tasks']:,}",
                f"{row['wall_s']:.1f}",
                f"{100 * row['efficiency']:.1f}" if name != "ms-0" else "",
                f"{row['tasks_per_s']:,.1f}",
            )
            for row in of_it
        ]
        heads = ["strategy", "hosts", "tasks", "seconds", "efficiency %", "tasks/s"]
        each = of_it[0]["tasks"] // of_it[0]["workers"]
        title = f"### {each} tasks of {name.removeprefix('ms-')} ms for each host"
        tables.append(f"{title}\n\n{tabulate(lines, heads, tablefmt='pipe', disable_numparse=True)}")
    return tables


if __name__ == "__main__":
    sys.exit(main())
