"""Hosts whose client is on another machine (`kon join`): here both are on one, and share no folder."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from kon.backends.aws.policies import policy
from kon.backends.emulator import Emulator
from kon.backends.memory import MemoryBackend
from kon.core.backend import ChannelOptions
from kon.core.distribution import version
from kon.core.ledger import Ledger
from kon.core.spec import Plugin
from kon.engine.control import Control, HostRefusal, OtherKon, RightDenied
from kon.engine.records.records import RunFolder
from kon.launch.host import Awaited, Host
from tests.cli.given import invoke
from tests.emulators import STRICT, WORKER

KON = str(Path(sys.executable).with_name("kon"))

EXPERIMENT = """\
name: {name}
workload: {{kind: sleep, count: 40, seconds: 0.05, per: worker}}
workers: [1, 2]
visibility_s: 2
backend: {{name: aws, prefix: {name}}}
"""


class Fleet:
    """A client's folder, and one for each host."""

    def __init__(self, path: Path, name: str) -> None:
        self.path = path
        self.file = path / "experiment.yml"
        self.file.write_text(EXPERIMENT.format(name=name))
        self.plan = path / "plan.json"

    def client(self, *options: str) -> subprocess.Popen[str]:
        words = ["run", str(self.file), "--out", str(self.path / "out"), "--join", "--apart", *options]
        return subprocess.Popen([KON, *words, "--json"], stdout=subprocess.PIPE, text=True)

    def host(self, number: int, **environment: str) -> subprocess.Popen[str]:
        words = ["join", str(self.plan), "--number", str(number), "--out", str(self.path / f"host{number}")]
        given = {**os.environ, **environment}
        return subprocess.Popen([KON, *words], stderr=subprocess.PIPE, text=True, env=given)

    def write_plan(self, *options: str) -> None:
        planned = invoke("run", self.file, "--out", self.path / "out", "--dry-run", "--json", *options)
        self.plan.write_text(planned.stdout)

    def began(self, number: int, run: str) -> bool:
        return any(RunFolder(self.path / f"host{number}" / run).events.glob("w*.jsonl"))


def _wait(come: Callable[[], bool]) -> None:
    give_up_s = time.monotonic() + 60.0
    while not come():
        assert time.monotonic() < give_up_s
        time.sleep(0.05)


@pytest.mark.long
def test_hosts_that_share_only_the_backend_do_all_runs_and_end(
    tmp_path: Path, on_ministack: Emulator
) -> None:
    fleet = Fleet(tmp_path, "apart")
    fleet.write_plan()
    hosts = [fleet.host(number) for number in (1, 2)]
    client = fleet.client()
    rows = json.loads(client.communicate(timeout=100)[0])["runs"]
    assert client.returncode == 0
    assert [(row["workers"], row["done"]) for row in rows] == [(1, 40), (2, 80)]
    for number, host in enumerate(hosts, start=1):
        _, said = host.communicate(timeout=30)
        assert host.returncode == 0, said
        assert f"host {number}: every run is over" in said
    assert fleet.began(1, "apart-lease-w1-r1")
    assert not fleet.began(2, "apart-lease-w1-r1"), "a run for one worker has no work for the second host"
    assert fleet.began(2, "apart-lease-w2-r1")


@pytest.mark.long
def test_a_client_that_comes_later_waits_for_hosts_apart(tmp_path: Path, on_ministack: Emulator) -> None:
    fleet = Fleet(tmp_path, "apart-later")
    options = ["--set", "workers=1"]
    fleet.write_plan(*options)
    assert invoke("submit", fleet.file, "--out", tmp_path / "out", "-q", *options).exit_code == 0
    host = fleet.host(1)
    collect = ["collect", str(tmp_path / "out/apart-later-lease-w1-r1"), "--no-workers", "--apart", "--json"]
    collected = subprocess.run([KON, *collect], stdout=subprocess.PIPE, text=True, timeout=100)
    _, said = host.communicate(timeout=30)
    assert (collected.returncode, host.returncode) == (0, 0), said
    [row] = json.loads(collected.stdout)["runs"]
    assert (row["done"], row["worker_lives"]) == (40, 0), "the host has kept its part of the records"
    assert fleet.began(1, "apart-later-lease-w1-r1")


def test_a_host_that_is_killed_costs_its_lease_and_one_that_comes_again_goes_on(
    tmp_path: Path, on_ministack: Emulator
) -> None:
    fleet = Fleet(tmp_path, "apart-kill")
    fleet.write_plan("--set", "workers=2")
    hosts = [fleet.host(number) for number in (1, 2)]
    client = fleet.client("--set", "workers=2")
    _wait(lambda: fleet.began(2, "apart-kill-lease-w2-r1"))
    workers = _children(hosts[1].pid)
    for pid in (hosts[1].pid, *workers):
        os.kill(pid, signal.SIGKILL)
    hosts[1].communicate()
    hosts[1] = fleet.host(2)
    [row] = json.loads(client.communicate(timeout=100)[0])["runs"]
    assert (client.returncode, row["done"], row["lost"]) == (0, 80, 0)
    for host in hosts:
        host.terminate()
        host.communicate(timeout=30)


def test_a_host_that_is_told_to_stop_gives_back_what_it_has(tmp_path: Path, on_ministack: Emulator) -> None:
    fleet = Fleet(tmp_path, "apart-stop")
    fleet.write_plan("--set", "workers=1")
    host = fleet.host(1)
    _wait(lambda: (fleet.path / "host1").exists())
    host.terminate()
    _, said = host.communicate(timeout=30)
    assert (host.returncode, "told to stop" in said) == (0, True), said


@pytest.mark.long
def test_a_host_of_a_fleet_finds_its_runs_itself_and_works_until_it_is_told_to_stop(
    tmp_path: Path, on_ministack: Emulator
) -> None:
    fleet = Fleet(tmp_path, "konf-finds")
    fleet.plan.write_text(json.dumps({"fleet": "finds", "number": 1001, "elastic": True}))
    words = ["join", str(fleet.plan), "--out", str(tmp_path / "host")]
    host = subprocess.Popen([KON, *words], stderr=subprocess.PIPE, text=True)
    [row] = json.loads(fleet.client("--set", "workers=1").communicate(timeout=100)[0])["runs"]
    assert (row["done"], row["lost"]) == (40, 0)
    assert host.poll() is None, "it is there for whatever comes"
    host.terminate()
    _, told = host.communicate(timeout=30)
    assert (host.returncode, "told to stop" in told) == (0, True), told
    assert worked_on(tmp_path / "host") == {"konf-finds-lease-w1-r1"}


def worked_on(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_dir()}


def test_hosts_apart_need_a_backend_that_they_can_reach(tmp_path: Path) -> None:
    file = tmp_path / "exp.yml"
    file.write_text("name: here\nworkload: {kind: sleep, count: 1, seconds: 0}\n")
    subprocess.run([KON, "submit", str(file), "--out", str(tmp_path / "out"), "-q"], check=True)
    run = str(tmp_path / "out/here-lease-w1-r1")
    for options, said in ((["--apart"], "add that"), (["--no-workers", "--apart"], "of this machine alone")):
        words = [KON, "collect", run, *options]
        refused = subprocess.run(words, stderr=subprocess.PIPE, text=True, timeout=100)
        assert (refused.returncode, said in refused.stderr) == (2, True), refused.stderr


def test_a_plan_that_names_nothing_is_refused(tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text('{"number": 1}')
    words = [KON, "join", str(plan), "--out", str(tmp_path / "host")]
    ended = subprocess.run(words, stderr=subprocess.PIPE, text=True, check=False)
    assert (ended.returncode, "names no run to work on" in ended.stderr) == (2, True)


@pytest.mark.long
def test_a_host_with_another_kon_does_not_take_part_and_nothing_is_queued(
    tmp_path: Path, on_ministack: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = Fleet(tmp_path, "apart-version")
    words = ["run", str(fleet.file), "--out", str(tmp_path / "out"), "--join", "--apart"]
    client = subprocess.Popen([KON, *words, "--set", "workers=1"], stderr=subprocess.PIPE, text=True)
    monkeypatch.setattr("kon.launch.host.version", lambda: "0.0.1")
    said: list[str] = []
    ours = version()

    async def host() -> None:
        options = {"prefix": "apart-version"}
        awaited = Awaited("apart-version-lease-w1-r1", Plugin("aws", options))
        host = Host([awaited], tmp_path / "host1", 1, on_note=said.append)
        working = asyncio.create_task(host.run())
        await asyncio.to_thread(client.wait, 100)
        host.stop()
        await working

    asyncio.run(host())
    _, trouble = client.communicate()
    assert client.returncode == 2, trouble
    assert (
        f"this is kon {ours}, and host 1 has 0.0.1: they do not take part, and nothing was queued" in trouble
    )
    refused = f"its client has kon {ours}, and this host 0.0.1: not worked on"
    assert len([each for each in said if refused in each]) == 1, "once, however often it looks"
    assert not fleet.began(1, "apart-version-lease-w1-r1")

    again = subprocess.Popen([KON, *words, "--set", "workers=1", "--json"], stdout=subprocess.PIPE, text=True)
    fleet.write_plan("--set", "workers=1")
    worker = fleet.host(1)  # of this kon
    [row] = json.loads(again.communicate(timeout=100)[0])["runs"]
    assert (row["done"], row["lost"]) == (40, 0)
    worker.communicate(timeout=30)


@pytest.mark.slow
def test_a_host_that_may_not_answer_is_named_and_a_run_without_others_ends(
    tmp_path: Path, on_ministack: Emulator
) -> None:
    """Nothing is lost by it: once its right is there, the same commands go on."""
    fleet = Fleet(tmp_path, "apart-denied")
    fleet.write_plan("--set", "workers=1")
    document = policy("worker", "*")
    document["Statement"].append({"Effect": "Deny", "Action": "sqs:SendMessage", "Resource": "*"})
    on_ministack.set_strict(replace(STRICT, policies={**STRICT.policies, WORKER: [document]}))
    key = {"AWS_ACCESS_KEY_ID": WORKER, "AWS_SECRET_ACCESS_KEY": WORKER}
    try:
        words = ["run", str(fleet.file), "--out", str(tmp_path / "out"), "--join", "--apart"]
        client = subprocess.Popen([KON, *words, "--set", "workers=1"], stderr=subprocess.PIPE, text=True)
        host = fleet.host(1, **key)
        _, of_host = host.communicate(timeout=100)
        _, of_client = client.communicate(timeout=100)
        assert (host.returncode, client.returncode) == (3, 3), (of_host, of_client)
        for said in (of_host, of_client):
            last = said.strip().splitlines()[-1]
            assert last.startswith("kon: ")
            assert "may not call sqs:sendmessage on" in last.lower()
    finally:
        on_ministack.set_strict(STRICT)
    again = fleet.client("--set", "workers=1")
    mended = fleet.host(1, **key)
    [row] = json.loads(again.communicate(timeout=100)[0])["runs"]
    assert (again.returncode, row["done"], row["dead"], row["lost"]) == (0, 40, 0, 0)
    _, of_host = mended.communicate(timeout=30)
    assert mended.returncode == 0, of_host


def _told(told: Callable[[Control, Ledger], Awaitable[None]]) -> None:
    async def body() -> None:
        backend = MemoryBackend({})
        await backend.create("r", ChannelOptions(3.0, 4))
        table = (await backend.open("r")).control
        await told(Control(table), table)
        await backend.close()

    asyncio.run(body())


def test_a_refusal_counts_for_the_kon_that_was_refused_alone() -> None:
    async def told(control: Control, table: Ledger) -> None:
        await control.refuse(OtherKon(1, "0.1", "0.2"))
        await control.refuse(RightDenied(2, "0.2", "may not", 7.0))
        await control.host(3, at_work=True)
        assert await control.refusals([1, 2, 3], "0.2") == [
            OtherKon(1, "0.1", "0.2"),
            RightDenied(2, "0.2", "may not", 7.0),
        ]
        assert await control.refusals([1, 2, 3], "0.3") == []
        assert await control.hosts_at_work([1, 2, 3]) == [3]
        await control.host(1, at_work=True)
        assert await control.refusals([1], "0.2") == [], "it has another kon by now"

    _told(told)


def test_refusals_are_written_as_ever() -> None:
    """A host of another kon writes them, and reads none."""
    earlier = [
        b'{"number":1,"kon":"0.1","client_kon":"0.2","denied":"","at_s":0.0}',
        b'{"number":2,"kon":"0.2","client_kon":"0.2","denied":"may not","at_s":7.0}',
    ]
    refusals: list[HostRefusal] = [OtherKon(1, "0.1", "0.2"), RightDenied(2, "0.2", "may not", 7.0)]

    async def told(control: Control, table: Ledger) -> None:
        for refusal in refusals:
            await control.refuse(refusal)
        rows = await table.scan(-1, 10)
        assert [row.outcome for row in rows] == earlier
        assert await control.refusals([1, 2], "0.2") == refusals

    _told(told)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["run", "{file}", "--join", "--apart", "--set", "backend=sqlite"], "is of this machine alone"),
        (["run", "{file}", "--apart"], "add --join"),
        (["join", "{file}", "--number", "1", "--out", "x"], "is not what `kon run --dry-run --json` prints"),
        (["join", "nowhere", "--number", "1", "--out", "x"], "nowhere: can't be read"),
    ],
)
def test_what_can_not_be_joined_is_refused(tmp_path: Path, options: list[str], said: str) -> None:
    fleet = Fleet(tmp_path, "refused")
    words = [word.format(file=fleet.file) for word in options]
    ended = subprocess.run([KON, *words], cwd=tmp_path, stderr=subprocess.PIPE, text=True, check=False)
    assert ended.returncode == 2
    assert said in ended.stderr


def _children(pid: int) -> list[int]:
    listed = subprocess.run(["pgrep", "-P", str(pid)], stdout=subprocess.PIPE, text=True, check=False)
    return [int(word) for word in listed.stdout.split()]
