"""Metrics of workers: what a scrape tells is what the records say, whatever happens to the workers."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from kon.backends.aws.billing import Meter as Bill
from kon.core.backend import RequestCount
from kon.core.distribution import install
from kon.core.errors import ConfigurationError
from kon.engine.records.records import RunFolder
from kon.engine.watchers.collector import COUNTED
from kon.engine.watchers.endpoint import Address, asked_for
from kon.launch.resume import opened
from kon.report.read.tally import tally_run
from tests.cli.given import SLEEPS, invoke, process, write
from tests.engine.watchers.given import (
    LABELS,
    Scrape,
    counted,
    eventually,
    free_ports,
    kon_at_work,
    lives,
)

TROUBLED: Final = f"""\
name: troubled
backend: sqlite
strategies: [{{name: lease, lease_s: 3, skew_s: 0.1}}]
workload: {{kind: shell, command: 'sleep 0.02; test {{}} -ge 4', items: {[*range(40)]}}}
slots: 4
prefetch: 2
attempts: 2
backoff_s: 0.05
visibility_s: 6
faults: {{duplicate_rate: 0.4}}
"""
"""Four of its tasks fail, each twice, and four in ten are sent twice."""

SLOW: Final = """\
name: slow
backend: sqlite
strategies: [{name: lease, lease_s: 1, skew_s: 0.1}]
workload: {kind: sleep, count: 60, seconds: 0.1}
slots: 2
visibility_s: 1
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def submitted(folder: Path, text: str) -> RunFolder:
    done = process("submit", write(folder, text), "--quiet", cwd=folder)
    assert done.returncode == 0, done.stderr
    [run] = (folder / "results").glob("*/*/")
    return RunFolder(run)


@contextmanager
def working(folder: RunFolder, *args: str, processes: int = 1) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """Its workers at work, and the first one's port."""
    port = free_ports(processes)
    options = ["-n", str(processes), "--metrics", str(port), *args]
    with kon_at_work("worker", folder.path, *options) as process:
        yield port, process


def as_recorded(scrape: Scrape) -> dict[str, float]:
    """A scrape's counters by the events that they are sums of; those that are 0 left out."""
    sums = {event.value: scrape[f"{name}_total"] for name, event, _ in COUNTED}
    sums["keep"] = sum(scrape.by("kon_tasks_ended_total", "outcome").values())
    return {event: value for event, value in sums.items() if value}


def own_records(folder: RunFolder, life: str) -> dict[str, int]:
    """What `as_recorded` should be, by the records of one life."""
    named = {event.value for _, event, _ in COUNTED} | {"keep"}
    return {event: count for event, count in counted(folder, life).items() if event in named}


def test_what_a_scrape_tells_is_what_the_records_say(tmp_path: Path) -> None:
    folder = submitted(tmp_path, TROUBLED)
    with working(folder, processes=2) as (port, _):

        def both() -> list[tuple[Scrape, dict[str, int]]]:
            return [
                (Scrape(port + at), own_records(folder, lives(folder, name)[-1][0]))
                for at, name in enumerate(["w1", "w2"])
            ]

        # those that were put off come again
        eventually(lambda: asyncio.run(depth(folder)), lambda messages: messages == 0)
        found = eventually(both, lambda found: all(as_recorded(scrape) == own for scrape, own in found))
        for scrape, own in found:
            assert as_recorded(scrape) == own
        row = collected(folder)
        all_told = [scrape for scrape, _ in found]
        # the endpoint ends with its worker
        eventually(lambda: both_closed(port), bool)
        assert both_closed(port)

    def total(name: str) -> float:
        return sum(scrape[name] for scrape in all_told)

    ended: dict[str, float] = {}
    for scrape in all_told:
        for outcome, count in scrape.by("kon_tasks_ended_total", "outcome").items():
            ended[outcome] = ended.get(outcome, 0) + count
    assert ended == {"done": row["done"], "failed": row["failed"], "dead": row["dead"]}
    assert row["failed"] == 4  # or this test would show less than it says
    assert row["duplicates_avoided"] > 0
    assert total("kon_duplicates_avoided_total") == row["duplicates_avoided"]
    assert total("kon_retries_total") == row["retries"] > 0
    assert total("kon_claims_deferred_total") == row["deferred"]
    assert total("kon_commits_refused_total") == row["refused"]
    assert total("kon_claims_dropped_total") == row["dropped"]
    events = tally_run(folder, 40)
    assert total("kon_starts_total") == events.starts.met >= 44
    assert total("kon_deliveries_total") == events.deliveries.met
    assert total("kon_task_seconds_count") == events.starts.met
    assert total("kon_task_seconds_sum") >= 44 * 0.02
    assert total("kon_settle_seconds_count") > 0


async def depth(folder: RunFolder) -> int:
    """Messages of tasks that are queued, held, or wait for their time."""
    async with opened(folder) as channel:
        found = await channel.tasks.depth()
    return found.total


def both_closed(port: int) -> bool:
    for number in (port, port + 1):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", number)) == 0:
                return False
    return True


def collected(folder: RunFolder) -> dict[str, Any]:
    done = process("collect", folder.path, "--no-workers", "--quiet", cwd=folder.path)
    assert done.returncode in (0, 1), done.stderr
    return folder.read_summary()


@pytest.mark.long
def test_a_killed_worker_is_followed_by_one_on_the_same_port_and_totals_stay_those_of_the_records(
    tmp_path: Path,
) -> None:
    folder = submitted(tmp_path, SLOW)
    with working(folder) as (port, _):
        eventually(lambda: Scrape(port)["kon_tasks_ended_total"], lambda ended: ended >= 1)
        [(killed, pid)] = lives(folder, "w1")
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: asyncio.run(depth(folder)), lambda messages: messages == 0)

        def now() -> tuple[Scrape, str]:
            return Scrape(port), lives(folder, "w1")[-1][0]

        scrape, heir = eventually(now, lambda now: as_recorded(now[0]) == own_records(folder, now[1]))
        assert heir != killed
        assert as_recorded(scrape) == own_records(folder, heir)
        row = collected(folder)
    assert row["done"] == 60
    # what the killed one had done and not written yet is in the ledger alone
    assert scrape["kon_tasks_ended_total"] + counted(folder, killed).get("keep", 0) <= 60
    taken = claimed(folder, killed) & claimed(folder, heir)
    assert taken, "the worker held nothing as it was killed"
    assert len(taken) <= scrape["kon_takeovers_total"] <= scrape["kon_redeliveries_total"]


def claimed(folder: RunFolder, life: str) -> set[int]:
    """The tasks that a life of a worker has written to have claimed."""
    lines = [line for name, line in folder.event_lines() if name == life and line["e"] == "claim"]
    return {index for line in lines for index in line.get("i") or range(line["r"][0], sum(line["r"]))}


def test_a_scrape_is_what_prometheus_wants_and_bounded(tmp_path: Path) -> None:
    folder = submitted(tmp_path, TROUBLED)
    with working(folder, "--name", "alone") as (port, _):
        scrape = eventually(lambda: Scrape(port), lambda found: found["kon_tasks_ended_total"] == 40)
    assert {family.name for family in scrape.families} >= {"kon_slots", "kon_build_info", "kon_tasks_ended"}
    for family in scrape.families:
        assert family.documentation, family.name
        assert family.type != "unknown", family.name
        for sample in family.samples:
            if family.name.startswith("kon_"):
                assert set(sample.labels) >= LABELS, sample
                assert sample.labels["run"] == folder.path.name
                assert sample.labels["strategy"] == "lease"
                assert sample.labels["kind"] == "shell"
                assert sample.labels["backend"] == "sqlite"
            if family.type == "counter":
                assert sample.name.endswith("_total"), sample
    names = {family.name for family in scrape.families}
    assert "process_resident_memory_bytes" in names or sys.platform != "linux"
    assert scrape["process_cpu_seconds_total"] > 0 or sys.platform != "linux"
    assert scrape["kon_slots"] == 4
    assert set(scrape.by("kon_tasks_in_flight", "stage")) == {"running", "waiting", "settling"}
    assert scrape.by("kon_requests_total", "service").keys() == {"sqlite"}
    assert scrape["kon_requests_total"] > 0
    assert "queue.receive" in scrape.by("kon_backend_call_seconds_count", "call")
    # 40 tasks, and no more lines than a run of any other size has
    assert len(scrape.samples) < 150
    assert "troubled-lease-w1-r1/" not in scrape.text


@pytest.mark.long
def test_workers_in_the_clients_process_share_one_endpoint(tmp_path: Path) -> None:
    text = SLEEPS.replace("count: 20, seconds: 0", "count: 60, seconds: 0.1") + "workers: 3\n"
    port = free_ports(1)
    with kon_at_work("run", write(tmp_path, text), "--metrics", str(port), "--quiet") as run:
        scrape = eventually(lambda: Scrape(port), lambda found: found["kon_tasks_ended_total"] > 5)
        assert run.wait(timeout=60) == 0
    assert scrape["kon_slots"] == 3
    assert set(scrape.by("kon_starts_total", "backend")) == {"memory"}
    assert set(scrape.by("kon_requests_total", "service")) == {"memory"}


def test_an_endpoint_ends_with_its_run(tmp_path: Path) -> None:
    """The next run of the same process takes the same port."""
    file = write(tmp_path, SLEEPS + "repeats: 3\n")
    result = invoke("run", file, "--metrics", str(free_ports(1)), "--quiet")
    assert result.exit_code == 0, result.stderr
    assert len([*(tmp_path / "results").glob("*/*/summary.json")]) == 3


def test_an_endpoint_is_of_this_machine_alone_unless_told_otherwise(tmp_path: Path) -> None:
    folder = submitted(tmp_path, SLOW)
    with working(folder) as (port, _):
        eventually(lambda: Scrape(port), lambda found: True)
        listening = process_listens_at(port)
    assert listening == {"127.0.0.1"}


def process_listens_at(port: int) -> set[str]:
    """The addresses of this machine, the loopback's second among them, at which the port answers."""
    found = set()
    for host in ("127.0.0.1", "127.0.0.2"):
        with socket.socket() as probe:
            if probe.connect_ex((host, port)) == 0:
                found.add(host)
    return found


@pytest.mark.parametrize("style", ["text", "json"])
@pytest.mark.parametrize("backend", ["sqlite", "memory"])
def test_a_port_that_is_taken_is_an_error_that_says_so(tmp_path: Path, backend: str, style: str) -> None:
    file = write(tmp_path, SLEEPS.replace("memory", backend))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = process("run", file, "--metrics", str(port), "--log-format", style, "-q", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert f"port {port} of 127.0.0.1 is in use" in done.stderr
    assert "Traceback" not in done.stderr
    assert '\\"message\\"' not in done.stderr  # what the worker said, not how it was written


@pytest.mark.parametrize(
    "text", ["x", "0", "65536", "host:", "::1:9464", ":9464", "[::1]", "9464:", "-1", "1e3"]
)
def test_an_address_that_can_t_be_is_refused(tmp_path: Path, text: str) -> None:
    result = invoke("run", write(tmp_path), f"--metrics={text}")
    assert result.exit_code == 2
    assert (
        f'expected PORT, HOST:PORT or [IPV6]:PORT, with a port from 1 to 65535, found "{text}"'
        in result.stderr
    )
    assert not (tmp_path / "results").exists()


def test_addresses() -> None:
    assert Address.parse("9464") == ("127.0.0.1", 9464)
    assert Address.parse("0.0.0.0:9464") == ("0.0.0.0", 9464)
    assert Address.parse("[::1]:9464") == ("::1", 9464)
    assert str(Address("::1", 9464)) == "[::1]:9464"
    assert Address.parse(str(Address("::1", 9464)).replace("9464", "9465")) == Address("::1", 9464).of(1)
    assert asked_for({}) is None
    assert asked_for({"KON_METRICS": "h:1"}) == ("h", 1)
    with pytest.raises(ConfigurationError, match="take a lower port"):
        Address("h", 65_535).of(1)


def test_metrics_without_the_library_are_refused_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    result = invoke("run", write(tmp_path), "--metrics", "9464")
    assert result.exit_code == 2
    assert install("metrics") in result.stderr
    assert not (tmp_path / "results").exists()
    assert "KON_METRICS" not in os.environ  # what a command was given ends with it


def test_workers_that_are_simulated_have_none(tmp_path: Path) -> None:
    result = invoke("run", write(tmp_path, SLEEPS.replace("memory", "sim")), "--metrics", "9464")
    assert result.exit_code == 2
    assert "are simulated, in virtual time" in result.stderr


def test_requests_are_told_by_service_and_operation() -> None:
    count = RequestCount()
    bill = Bill(count)
    for _ in range(3):
        bill.sent("sqs", "ReceiveMessage", False, "POST", 100)
    bill.sent("dynamodb", "BatchExecuteStatement", False, "POST", 100)
    assert count.operations == {("sqs", "ReceiveMessage"): 3, ("dynamodb", "BatchExecuteStatement"): 1}
    assert sum(count.operations.values()) == count.made
