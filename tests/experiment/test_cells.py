"""Runs of an experiment: which, in what order, and under what names."""

from __future__ import annotations

import re

import msgspec
import pytest

from kon.core.spec import Plugin
from kon.experiment.cells import MAX_RUN_ID, run_id, strategy_labels
from tests.experiment.given import MINIMAL, one


def test_strategies_by_workers_by_repeats() -> None:
    experiment = one(MINIMAL + "strategies: [none, lease]\nworkers: [1, 2]\nrepeats: 2\n")
    assert [cell.spec.run for cell in experiment.cells()] == [
        "x-none-w1-r1",
        "x-none-w1-r2",
        "x-none-w2-r1",
        "x-none-w2-r2",
        "x-lease-w1-r1",
        "x-lease-w1-r2",
        "x-lease-w2-r1",
        "x-lease-w2-r2",
    ]


def test_the_same_text_makes_the_same_runs_and_keys() -> None:
    first, second = (one(MINIMAL + "strategies: [none, lease]\n").cells() for _ in range(2))
    assert [cell.spec for cell in first] == [cell.spec for cell in second]
    assert len({cell.spec.key() for cell in first}) == 2


def test_a_spec_survives_its_journey_to_a_worker() -> None:
    [cell] = one(MINIMAL + "strategies: [{name: lease, lease_s: 3}]\n").cells()
    assert msgspec.json.decode(msgspec.json.encode(cell.spec), type=type(cell.spec)) == cell.spec


@pytest.mark.parametrize(
    ("settings", "bundle", "prefetch"),
    [
        ("", None, None),
        ("bundle: auto\nprefetch: auto", None, None),
        ("prefetch: null", None, None),
        ("bundle: 1", 1, None),
        ("prefetch: 5", None, 5),
    ],
)
def test_kon_finds_what_the_file_leaves_out(settings: str, bundle: int | None, prefetch: int | None) -> None:
    (cell,) = one(f"{MINIMAL}{settings}\n").cells()
    assert (cell.spec.bundle, cell.spec.prefetch) == (bundle, prefetch)


@pytest.mark.parametrize(
    ("settings", "tasks_per_row"),
    [
        ("backend: aws", None),
        ("backend: aws\ntasks_per_row: auto", None),
        ("backend: sim", None),
        ("backend: sqlite", 1),
        ("backend: aws\nbundle: 1", 1),
        ("backend: aws\nbundle: 7", 7),
        ("backend: aws\nbundle: 1000", 100),
        ("backend: aws\nbundle: 1000\ntasks_per_row: 1", 1),
        ("backend: aws\ntasks_per_row: 10", 10),
        ("backend: sim\nbundle: 7", 7),
        ("backend: sqlite\nbundle: 7", 1),
        ("backend: memory\nbundle: 7", 1),
    ],
)
def test_a_bundles_tasks_share_a_row_where_rows_cost(settings: str, tasks_per_row: int | None) -> None:
    (cell,) = one(f"name: x\nworkload: {{kind: sleep, count: 1, seconds: 0}}\n{settings}\n").cells()
    assert cell.spec.tasks_per_row == tasks_per_row


def test_other_bodies_make_another_run() -> None:
    def digest(workload: str) -> str:
        return one(f"name: x\nbackend: memory\nworkload: {workload}\n").cells()[0].spec.workload_digest

    workloads = [
        "{kind: sleep, count: 2, seconds: 1}",
        "{kind: sleep, count: 3, seconds: 1}",
        "{kind: sleep, count: 2, seconds: 2}",
        "{kind: sleep, items: [1, 2]}",
        "{kind: sleep, items: [2, 1]}",
        "{kind: sleep, items: [12]}",
        "{kind: sleep, range: [1, 4, 2]}",
        "{kind: python, function: 'math:sqrt', range: [1, 4, 2]}",
        "{kind: python, function: 'math:sqrt', range: [1, 3]}",
        "{kind: python, function: 'math:sqrt', count: 2}",
        "{kind: stats, items: [[1]]}",
    ]
    assert len({digest(workload) for workload in workloads}) == len(workloads)
    assert digest("{kind: sleep, items: [1, 2]}") == digest("{kind: sleep, range: [1, 3]}")


def test_options_stand_in_a_name_only_where_they_set_strategies_apart() -> None:
    def labels(*strategies: Plugin) -> list[str]:
        return strategy_labels(strategies)

    assert labels(Plugin("read_then_write", {"record": "before"})) == ["read_then_write"]
    assert labels(
        Plugin("read_then_write"), Plugin("none"), Plugin("read_then_write", {"record": "before"})
    ) == [
        "read_then_write-after",
        "none",
        "read_then_write-before",
    ]
    assert labels(
        Plugin("lease", {"lease_s": 3, "skew_s": 1}), Plugin("lease", {"lease_s": 0.5, "skew_s": 1})
    ) == ["lease-3", "lease-0-5"]
    assert labels(Plugin("lease", {"lease_s": 3}), Plugin("lease", {"lease_s": 3, "skew_s": 2})) == [
        "lease-0-5",
        "lease-2",
    ]


def test_labels_are_never_the_same() -> None:
    assert strategy_labels(
        [Plugin("lease", {"lease_s": 0.5}), Plugin("lease", {"lease_s": 5e-1, "skew_s": 0})]
    ) == [
        "lease-0-5",
        "lease-0",
    ]
    same = [Plugin("lease", {"skew_s": 1.5}), Plugin("lease", {"skew_s": "1-5"})]
    assert strategy_labels(same) == ["lease-1-5", "lease-1-5-2"]


@pytest.mark.parametrize("stem", ["x-lease", "n" * 40 + "-" + "strategies_fancy-Mine" * 5])
def test_a_run_id_fits_everywhere(stem: str) -> None:
    name = run_id(stem, 100_000, 1_000)
    assert re.fullmatch(r"[A-Za-z0-9_-]+", name)
    assert len(name) <= MAX_RUN_ID
    assert name.endswith("-w100000-r1000")
    assert name != run_id(stem + "x", 100_000, 1_000)


def test_a_strategy_by_module_and_class_has_a_plain_name() -> None:
    [cell] = one(MINIMAL + "strategies: 'kon.strategies.lease:Lease'\n").cells()
    assert cell.spec.run == "x-kon-strategies-lease-Lease-w1-r1"
    assert cell.spec.strategy.name == "kon.strategies.lease:Lease"
