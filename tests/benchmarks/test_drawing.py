"""The benchmarks' tables, drawn from made records: nothing is measured here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from benchmarks import records as kept
from benchmarks.__main__ import EXPERIMENTS, main
from benchmarks.experiment import Experiment, Point, Record
from benchmarks.fresh import MeasurementFailed, call
from benchmarks.page import page, text
from benchmarks.records import Records, here

FIGURES: dict[str, Any] = {
    "tasks_per_s": 1_000.0,
    "cpu_us_per_task": 10.0,
    "efficiency": 0.97,
    "fsync_us": 100.0,
    "worker_peak_mb": 30.0,
    "client_peak_mb": 31.0,
    "us_per_task": 2.0,
    "peak_mb": 32.0,
    "core_share": 0.005,
    "output": "what a program printed",
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(kept, "FOLDER", tmp_path)
    return tmp_path


def made(experiment: Experiment, quick: bool, **figures: dict[str, float]) -> list[Record]:
    """A record of each point; figures of its own for what has a name in `figures`."""
    return [
        Record(
            experiment.name,
            point,
            {**FIGURES, **figures.get(point.what.split(",")[0], {})},
            load=0.5,
            at="2030-01-01T00:00+00:00",
        )
        for point in experiment.points(quick)
    ]


@pytest.mark.parametrize("quick", [False, True], ids=["full", "quick"])
@pytest.mark.parametrize("experiment", EXPERIMENTS.values(), ids=lambda each: each.name)
def test_every_experiment_draws_what_it_measures(experiment: Experiment, quick: bool) -> None:
    points = experiment.points(quick)
    assert len({point.key() for point in points}) == len(points), "two points share a record"
    section = experiment.draw(made(experiment, quick))
    assert section.title in text(section)
    assert section.tables or section.output or section.findings


def test_a_ratio_is_to_the_best_of_the_peers_settings() -> None:
    experiment = EXPERIMENTS["memory"]
    slower = made(experiment, True, kon={"tasks_per_s": 6_000.0}, Queue={"tasks_per_s": 500.0})
    best = [
        Record(r.experiment, r.point, {**r.figures, "tasks_per_s": 1_500.0}, r.load, r.at)
        if r.point.what == "Queue, 4 threads"
        else r
        for r in slower
    ]
    assert experiment.draw(best).findings[0].startswith("4.0x (4.0 to 4.0)")


def test_the_worst_number_of_workers_makes_the_finding() -> None:
    experiment = EXPERIMENTS["efficiency"]
    records = [
        Record(r.experiment, r.point, {**r.figures, "efficiency": 0.9}, r.load, r.at)
        if r.point.what == "10 ms, 16 workers"
        else r
        for r in made(experiment, False)
    ]
    assert experiment.draw(records).findings[0].startswith("90.0%")
    assert experiment.draw(records).findings[1].startswith("97.0%")


def test_records_outlive_the_program_and_stay_apart_by_context() -> None:
    point = Point("what", "module:function", {"tasks": 1})
    records = Records.of(here())
    assert records.find("memory", point) is None
    records.add("memory", point, {"tasks_per_s": 1.0}, load=0.5)
    records.add("memory", point, {"tasks_per_s": 2.0}, load=0.5)
    again = Records.of(here())
    found = again.find("memory", point)
    assert found is not None
    assert found.figures == {"tasks_per_s": 2.0}
    assert again.find("sqlite", point) is None
    other = Point("what", "module:function", {"tasks": 2})
    assert again.find("memory", other) is None
    assert not Records.of(type(again.context)(**{**_fields(again), "sources": "others"})).all


def _fields(records: Records) -> dict[str, Any]:
    return {name: getattr(records.context, name) for name in records.context.__struct_fields__}


def test_a_page_names_machine_and_load(folder: Path) -> None:
    records = Records.of(here())
    for experiment in EXPERIMENTS.values():
        for record in made(experiment, False):
            records.add(experiment.name, record.point, record.figures, load=1.25)
    sections = [
        experiment.draw([found for point in experiment.points(False) if (found := records.find(name, point))])
        for name, experiment in EXPERIMENTS.items()
    ]
    written = page(sections, records)
    assert records.context.machine in written
    assert "1.2 to 1.2" in written
    assert all(f"## {section.title}" in written for section in sections)


def test_a_measurement_that_fails_is_told_with_what_it_said() -> None:
    with pytest.raises(MeasurementFailed, match=r"No module named 'benchmarks\.nothing'"):
        call("benchmarks.nothing:measure", {})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "memroy"], "no experiment memroy"),
        (["--write", "--quick"], "--write is for the whole"),
        (["--redraw"], "nothing is recorded yet"),
    ],
)
def test_wrong_use_is_told(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert said in result.output


def test_what_is_recorded_is_not_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def measure(function: str, options: dict[str, Any]) -> dict[str, Any]:
        calls.append(function)
        return FIGURES

    monkeypatch.setattr("benchmarks.__main__.call", measure)
    arguments = ["--quick", "--only", "idle"]
    for more, times in (([], 1), ([], 1), (["--again"], 2)):
        result = CliRunner().invoke(main, [*arguments, *more])
        assert result.exit_code == 0, result.output
        assert len(calls) == times
        assert "0.50% of a core" in result.output
