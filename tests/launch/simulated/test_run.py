"""`backend: sim` in an experiment: the records of any other run, by a virtual clock."""

from __future__ import annotations

import asyncio
import json
import os
import resource
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from kon.core.errors import ConfigurationError
from kon.engine.records.records import RunFolder
from kon.engine.tally import Tally
from kon.experiment import Experiment, loads
from kon.launch.campaign import Campaign, CampaignListener
from kon.launch.simulated.simulation import Simulation
from kon.report.summary import CONTRACT
from kon.report.tables import tables


def experiment(workload: str, more: str = "", backend: str = "sim") -> Experiment:
    text = f"name: x\nbackend: {backend}\nworkload: {{kind: sleep, {workload}}}\n{more}\n"
    return loads(text, "x.yml", Path())[0]


def run(root: Path, wanted: Experiment, **options: Any) -> list[dict[str, Any]]:
    campaign = Campaign([wanted], root, **options)
    campaign.check()
    return asyncio.run(campaign.run())


def only(root: Path) -> RunFolder:
    [path] = [path for path in root.iterdir() if path.is_dir()]
    return RunFolder(path)


def test_a_run_has_the_records_and_the_table_of_any_other(tmp_path: Path) -> None:
    [row] = run(tmp_path, experiment("count: 200, seconds: 0.1", "strategies: lease\nworkers: 4\nbundle: 1"))
    assert set(CONTRACT) <= set(row)
    assert (row["done"], row["lost"], row["duplicate_starts"], row["clock"]) == (200, 0, 0, "virtual")
    # 200 x 0.1 s over 4 workers take 5 s by themselves, and this test takes less
    assert 5.0 < row["wall_s"] < 8.0
    assert row["efficiency"] == pytest.approx(5.0 / row["wall_s"], rel=1e-4)
    assert 0.1 < row["requests_per_task"] < 10
    assert 40 <= row["worker_cpu_us_per_task"] < 5_000
    folder = only(tmp_path)
    assert [outcome.index for _, outcome in folder.outcomes()] == list(range(200))
    assert "simulated, in virtual time" in tables([row])
    report = json.loads((folder.path / "simulation.json").read_text())
    assert report["requests"]["tasks queue.send"]["items"] == 200
    assert report["ready_s"] > 10  # hosts take their time to boot


def test_idle_workers_ask_as_seldom_as_at_amazon() -> None:
    """Three workers wait beside a task of 200 s."""
    wanted = experiment("count: 1, seconds: 200", "strategies: lease\nworkers: 4")
    [cell] = wanted.cells()
    report = Simulation(cell.spec, cell.workload.bodies(4)).run()
    assert 3 * 10 <= report.requests["tasks queue.receive"].calls <= 4 * 11  # SQS waits for 20 s at most
    assert report.wall_s < 201.0


def test_each_event_names_the_life_of_its_worker(tmp_path: Path) -> None:
    run(tmp_path, experiment("count: 60, seconds: 0.5", "strategies: lease\nworkers: 3"))
    folder = only(tmp_path)
    lives = Counter(life for life, event in folder.event_lines() if event["e"] == "start")
    assert set(lives) == {"w1.1", "w2.1", "w3.1"}
    assert sorted(path.name for path in folder.events.iterdir()) == ["client.jsonl", "workers.jsonl"]


def test_the_same_seed_makes_the_same_run_and_another_seed_another(tmp_path: Path) -> None:
    def results(name: str, seed: int) -> bytes:
        more = (
            f"strategies: lease\nworkers: 3\nseed: {seed}\nfaults: {{duplicate_rate: 0.1, kill_workers: 1}}"
        )
        run(tmp_path / name, experiment("count: 90, seconds: 0.2", more))
        return only(tmp_path / name).results.read_bytes()

    assert results("one", 1) == results("again", 1) != results("other", 2)


def test_killed_workers_are_replaced_and_repeats_counted(tmp_path: Path) -> None:
    faults = "faults: {duplicate_rate: 0.2, kill_workers: 2}"
    more = f"strategies: [none, lease]\nworkers: 4\nvisibility_s: 5\n{faults}"
    none, lease = run(tmp_path, experiment("count: 400, seconds: 0.05", more))
    for row in (none, lease):
        assert (row["done"], row["lost"], row["worker_lives"]) == (400, 0, 6)
        assert row["duplicate_deliveries"] > 40
    assert none["duplicate_results"] > 40
    assert lease["duplicate_results"] == 0
    assert lease["duplicates_avoided"] > 40


def test_a_claim_that_a_killed_worker_takes_with_it_is_lost_with_conditional_put(tmp_path: Path) -> None:
    more = "strategies: conditional_put\nworkers: 4\nvisibility_s: 5\nfaults: {kill_workers: 2}"
    [row] = run(tmp_path, experiment("count: 400, seconds: 0.05", more))
    assert row["lost"] > 0
    assert row["done"] + row["lost"] == 400


@pytest.mark.long
def test_a_thousand_workers_need_no_thousand_files(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/dev/fd")) + 40, hard))  # noqa: PTH208
    try:
        wanted = experiment("count: 1000, seconds: 0", "workers: 1000", "{name: sim, boot: false}")
        [row] = run(tmp_path, wanted)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (row["done"], row["worker_lives"]) == (1_000, 1_000)


def test_one_item_to_a_call(tmp_path: Path) -> None:
    backend = "{name: sim, boot: false, max_batch: 1}"
    more = "strategies: read_then_write\nprefetch: 0\nbundle: 1\nworkers: 2"
    run(tmp_path, experiment("count: 50, seconds: 0.01", more, backend))
    requests = json.loads((only(tmp_path).path / "simulation.json").read_text())["requests"]
    for call in ("tasks queue.send", "tasks queue.ack", "ledger ledger.read", "ledger ledger.put"):
        assert requests[call]["calls"] == requests[call]["items"] == 50


@pytest.mark.long
def test_a_table_of_few_units_holds_a_run_back(tmp_path: Path) -> None:
    more = "strategies: conditional_put\nworkers: 8\nbundle: 1"
    wanted = experiment("count: 20000, seconds: 0", more, "{name: sim, boot: false, table: provisioned}")
    [row] = run(tmp_path, wanted)
    # 300 s of its 50 units are saved up; the other 5,000 writes take 100 s
    assert row["wall_s"] == pytest.approx(100.0, rel=0.1)


def test_messages_in_flight_are_limited(tmp_path: Path) -> None:
    wanted = experiment("count: 100, seconds: 1", "workers: 20\nslots: 2", "{name: sim, boot: false}")
    limited = wanted.backend.options["latency"]
    limited["queues"]["standard"]["max_in_flight"] = 7
    [row] = run(tmp_path, wanted)
    report = json.loads((only(tmp_path).path / "simulation.json").read_text())
    assert (row["done"], report["most_in_flight"]) == (100, 7)
    assert row["wall_s"] > 100 / 7


def test_spot_hosts_are_taken_back_and_replaced(tmp_path: Path) -> None:
    wanted = experiment(
        "count: 100, seconds: 60", "strategies: lease\nworkers: 20", "{name: sim, spot: true}"
    )
    wanted.backend.options["latency"]["hosts"]["spot"]["interrupted_in_an_hour"] = 0.99
    [row] = run(tmp_path, wanted)
    report = json.loads((only(tmp_path).path / "simulation.json").read_text())
    assert (row["done"], row["lost"]) == (100, 0)
    assert report["interruptions"] > 0
    assert row["worker_lives"] >= 20


def test_clocks_that_are_off_show_in_the_records(tmp_path: Path) -> None:
    backend = "{name: sim, boot: false, faults: {skew: 1}, spans: {skew_s: 5}}"
    run(tmp_path, experiment("count: 30, seconds: 0.5", "workers: 6", backend))
    began = {life: event["t"] for life, event in only(tmp_path).event_lines() if event["e"] == "up"}
    assert max(began.values()) - min(began.values()) > 2.0


@pytest.mark.parametrize("fault", ["crash", "pause", "client_crash"])
def test_faults_of_hosts_are_for_the_search(tmp_path: Path, fault: str) -> None:
    wanted = experiment("count: 1, seconds: 0", backend=f"{{name: sim, faults: {{{fault}: 0.5}}}}")
    with pytest.raises(ConfigurationError, match=f"the fault {fault} is for `kon prove`"):
        run(tmp_path, wanted)


def test_nothing_can_be_submitted_to_a_simulation(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="what is submitted would end"):
        asyncio.run(Campaign([experiment("count: 1, seconds: 0")], tmp_path).submit())


@pytest.mark.long
def test_one_that_is_cancelled_ends_soon_and_begins_anew(tmp_path: Path) -> None:
    wanted = experiment("count: 3000, seconds: 10", "workers: 10", "{name: sim, boot: false}")
    seen: list[int] = []

    async def cancel_in_the_midst() -> None:
        loop = asyncio.get_running_loop()
        begun = asyncio.Event()

        class Begun(CampaignListener):
            def update(self, tally: Tally) -> None:
                seen.append(tally.left)
                loop.call_soon(begun.set)

        task = asyncio.create_task(Campaign([wanted], tmp_path, listener=Begun()).run())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel_in_the_midst())
    assert seen
    assert not only(tmp_path).finished
    [row] = run(tmp_path, wanted)
    assert (row["done"], row["duplicate_starts"], row["worker_lives"]) == (3_000, 0, 10)


def test_what_failed_can_be_run_again(tmp_path: Path) -> None:
    more = "strategies: conditional_put\nworkers: 4\nvisibility_s: 5\nfaults: {kill_workers: 2}"
    wanted = experiment("count: 400, seconds: 0.05", more)
    [row] = run(tmp_path, wanted)
    lost = row["lost"]
    assert lost > 0
    for _ in range(5):
        [row] = run(tmp_path, wanted, rerun_failed=True)
        if row["done"] == 400:
            break
    assert row["done"] > 400 - lost


@pytest.mark.parametrize("slots", [12, 16, 32])
def test_one_worker_fills_all_its_slots_at_once(slots: int) -> None:
    """A receive brings ten messages at most: the slots that they leave free ask again at once."""
    wanted = loads(
        f"name: x\nbackend: {{name: sim, boot: false}}\nslots: {slots}\n"
        f"workload: {{kind: sleep, count: {slots}, seconds: 60}}\n",
        "x.yml",
        Path(),
    )[0]
    [cell] = wanted.cells()
    assert Simulation(cell.spec, [60.0] * slots).run().wall_s < 61.0
