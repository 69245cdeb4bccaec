"""The experiments that come with the project load, and say what their comments say."""

from __future__ import annotations

from pathlib import Path

import pytest

from kon.experiment import load

ROOT = Path(__file__).parents[2]
FILES = sorted(set((ROOT / "workloads").glob("*.yml")) - {ROOT / "workloads" / "published.yml"})


@pytest.fixture(autouse=True)
def _in_the_projects_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_experiment_loads_and_points_editors_to_the_schema(file: Path) -> None:
    assert file.read_text().startswith("# yaml-language-server: $schema=../docs/experiment.schema.json\n")
    runs = [cell.spec.run for experiment in load(file) for cell in experiment.cells()]
    assert len(set(runs)) == len(runs) > 0


def test_run_ids_are_unique_among_all_files() -> None:
    runs = [cell.spec.run for file in FILES for experiment in load(file) for cell in experiment.cells()]
    assert len(set(runs)) == len(runs)


def test_the_quickstart_covers_what_it_promises() -> None:
    work, compare = load(ROOT / "workloads" / "quickstart.yml")
    assert (work.name, work.strategies[0].name, work.form.workers) == ("quickstart", "lease", [4])
    assert work.workload.count(4) > 50
    assert [each.label for each in compare.strategies] == [
        "none",
        "read_then_write(record=after)",
        "read_then_write(record=before)",
        "conditional_put",
        "lease(lease_s=1.0, skew_s=0.1)",
        "result_once",
    ]
    assert compare.form.workers == [4]
    assert compare.form.faults.duplicate_rate == 0.05
    assert compare.form.faults.kill_workers == 1


@pytest.mark.parametrize(
    ("name", "tasks", "ideal_s"),
    [
        ("sleep-0", [10_000] * 5, [0.0] * 5),
        ("sleep-10ms", [1_000, 2_000, 4_000, 8_000, 16_000], [10.0, 20.0, 40.0, 80.0, 160.0]),
        ("sleep-1s", [100, 200, 400, 800, 1_600], [100.0, 200.0, 400.0, 800.0, 1_600.0]),
        ("sleep-10s", [10, 20, 40, 80, 160], [100.0, 200.0, 400.0, 800.0, 1_600.0]),
    ],
)
def test_the_older_systems_experiments(name: str, tasks: list[int], ideal_s: list[float]) -> None:
    [experiment] = load(ROOT / "workloads" / f"{name}.yml")
    specs = [cell.spec for cell in experiment.cells()]
    assert [spec.workers for spec in specs] == [1, 2, 4, 8, 16]
    assert [spec.tasks for spec in specs] == tasks
    assert [spec.ideal_s for spec in specs] == ideal_s
