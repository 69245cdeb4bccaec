"""Tables of the older systems' shapes, and rows for other programs."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest

from kon.report.formats import as_csv, drawn
from kon.report.views import by_length, by_minutes, further, idle_s, references, task_length
from tests.house import PROJECT
from tests.report.test_tables import row


def sleeps(seconds: float, workers: int, **changes: Any) -> dict[str, Any]:
    """100 of them for each worker, which take a tenth longer than they should."""
    ideal_s = 100 * workers * seconds
    wall_s = 1.1 * 100 * seconds or 0.5
    return row(
        **{
            "tasks": 100 * workers,
            "workers": workers,
            "ideal_s": ideal_s,
            "wall_s": wall_s,
            "tasks_per_s": 100 * workers / wall_s,
            "efficiency": ideal_s / wall_s / workers if ideal_s else None,
            **changes,
        }
    )


OTHERS = references(PROJECT / "workloads" / "published.yml")


def lines(text: str) -> list[list[str]]:
    return [line.split() for line in text.split("---\n", 1)[1].split("\n\n")[0].splitlines()]


def test_workers_by_length_of_task_with_the_older_systems_beside() -> None:
    rows = [sleeps(seconds, workers) for seconds in (0.0, 0.01, 1.0) for workers in (2, 1)]
    text = by_length(rows, others=OTHERS)
    body = lines(text)
    # longest first: task, workers, tasks, time, idle, efficiency, tasks/s, and the clones
    assert body[0] == ["1", "s", "1", "100", "110", "10.0", "90.9", "0.91", "96.53%", "86.64%", "99.88%"]
    assert [line[:3] for line in body[1:4]] == [["1", "s", "2"], ["10", "ms", "1"], ["10", "ms", "2"]]
    assert body[4][:7] == ["0", "s", "1", "100", "0.50", "0.50", "-"]
    assert body[4][8:] == ["31.7/s", "13.0/s", "7,812/s", "56,625/s", "238/s"]
    assert "96.53%" not in by_length([{**each, "faults": True} for each in rows], others=OTHERS)
    assert "2016" not in by_length(rows)
    assert "idle: how long a slot, on average, had no task" in text


def test_rows_of_unknown_length_are_named_and_not_dropped() -> None:
    assert by_length([row(run="shells-lease-w1-r1")]) == (
        "Left out, as nobody knows how long their tasks take: shells-lease-w1-r1"
    )


def test_idle_time_is_that_of_a_slot() -> None:
    assert idle_s(row(workers=2, processes=2, slots=5, ideal_s=100.0, wall_s=7.0)) == 2.0
    assert idle_s(row(ideal_s=None)) is None


def test_minutes_by_workers() -> None:
    rows = [
        row(kind="animoto", workers=workers, tasks=160, wall_s=60 * minutes, ideal_s=None)
        for workers, minutes in ((4, 110.0), (1, 440.0), (2, 220.0))
    ]
    text = by_minutes(rows, others=OTHERS)
    assert text.startswith("animoto: minutes by workers, lease on sqlite\n")
    assert [(line[0], line[2], line[4], line[5]) for line in lines(text)] == [
        ("1", "440", "1.00", "463"),
        ("2", "220", "2.00", "230"),
        ("4", "110", "4.00", "118"),
    ]
    assert "463" not in by_minutes([{**each, "tasks": 10} for each in rows], others=OTHERS), "theirs were 160"


def test_what_fits_is_drawn_beside() -> None:
    assert further([sleeps(0.01, 1), sleeps(0.01, 2)]) == []
    assert further([sleeps(0.01, 1), sleeps(1.0, 1, strategy="none")]) == []
    [lengths] = further([sleeps(0.01, 1), sleeps(1.0, 1), row(run="unknown")])
    assert "by length of task" in lengths
    assert "unknown" not in lengths
    [minutes] = further([row(kind="animoto")])
    assert "minutes by workers" in minutes


@pytest.mark.parametrize(("seconds", "text"), [(0, "0 s"), (0.01, "10 ms"), (0.0005, "0.5 ms"), (10, "10 s")])
def test_lengths_for_people(seconds: float, text: str) -> None:
    assert task_length(seconds) == text


def test_several_folders_have_titles() -> None:
    groups = {"results/a": [row()], "results/b": [row()]}
    assert drawn(groups).startswith("results/a:\ncompare: ")
    assert drawn(groups, "latex").startswith("% results/a:\n% compare: ")
    assert drawn({"results/a": [row()]}).startswith("compare: ")


def test_latex_has_no_bare_special_characters() -> None:
    rows = [row(strategy="read_then_write"), row(strategy="none")]
    text = drawn({"": rows}, "latex")
    assert r"read\_then\_write" in text
    assert r"efficiency (\%)" in text
    assert r"\toprule" in text


def test_csv_has_every_value_unrounded() -> None:
    rows = [row(wall_s=1 / 3, strategy_options={"lease_s": 5}, schema=1), row(efficiency=None, usd=0.5)]
    first, second = csv.DictReader(io.StringIO(as_csv(rows)))
    assert float(first["wall_s"]) == 1 / 3
    assert json.loads(first["strategy_options"]) == {"lease_s": 5}
    assert (second["efficiency"], first["usd"], second["usd"]) == ("", "", "0.5")
    assert "schema" not in first


def test_experiments_with_tasks_of_one_length_are_told_apart() -> None:
    drawn_rows = lines(by_length([sleeps(0.01, 1, experiment=each) for each in ("amazon", "one-call")]))
    assert [each[0] for each in drawn_rows if each[1:3] == ["10", "ms"]] == ["amazon", "one-call"]
    assert "experiment" not in by_length([sleeps(0.01, 1), sleeps(1, 1, experiment="other")])
    videos = [row(kind="animoto", tasks=4, workers=1, experiment=each) for each in ("crop", "blur")]
    assert {"crop", "blur"} <= {each[0] for each in lines(by_minutes(videos)) if each}
    assert "slots" in by_length([sleeps(0.01, 1, slots=1), sleeps(0.01, 1, slots=2)])
