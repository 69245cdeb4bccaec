"""Plots: what is on them, in what looks, and that a file needs nothing beside itself."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

import pytest
from matplotlib.figure import Figure

from kon.core.distribution import install
from kon.report.plots import curves, style
from kon.report.plots.runs import MOST_POINTS, MOST_ROWS, costs, latencies, workers
from kon.report.plots.style import as_png, as_svg, drawing, inline_svg, series
from kon.report.read.moments import Latencies
from kon.report.timeline import BINS, Bar, LifeLine, Timeline
from kon.report.views import references
from tests.house import PROJECT
from tests.report.test_tables import row

OTHERS = references(PROJECT / "workloads" / "published.yml")


def labels(figure: Figure | None) -> list[str]:
    assert figure is not None
    return [label for axes in figure.axes for label in axes.get_legend_handles_labels()[1]]


def heights(line: Any) -> list[float]:
    return [float(each) for each in line.get_ydata()]


def sleeps(workers: int, per_s: float, **changes: Any) -> dict[str, Any]:
    return row(workers=workers, tasks_per_s=per_s, ideal_s=0.0, efficiency=None, **changes)


def test_curves_by_workers_have_an_ideal_line_and_the_older_systems() -> None:
    rows = [sleeps(count, 100.0 * count, backend="aws") for count in (1, 4, 16)]
    with drawing():
        said = labels(curves.throughput(rows, OTHERS))
    sqs = {"clone A (2016), SQS", "clone B (2016), SQS"}
    assert set(said) == {"ideal", "lease", *sqs, "CloudKon (2013), sheet", "CloudKon (2014), paper"}
    with drawing():
        here = labels(curves.throughput([{**each, "backend": "memory"} for each in rows], OTHERS))
    assert set(here) == {"ideal", "lease", "clone A (2016), threads", "clone B (2016), threads"}


def test_others_are_not_drawn_unless_asked_nor_over_runs_with_faults() -> None:
    rows = [sleeps(count, 100.0 * count, backend="aws") for count in (1, 4, 16)]
    timed = [row(workers=count, tasks=100 * count, ideal_s=1.0 * count, efficiency=0.9) for count in (1, 2)]
    with drawing():
        assert set(labels(curves.throughput(rows))) == {"ideal", "lease"}
        for draw, given in ((curves.throughput, rows), (curves.efficiency, timed)):
            faulty = [{**each, "faults": True} for each in given]
            assert set(labels(draw(faulty, OTHERS))) == {"ideal", "lease"}


def test_efficiency_by_length_has_those_with_as_many_workers() -> None:
    rows = [
        row(workers=64, tasks=64, ideal_s=64 * seconds, efficiency=0.9, backend="aws")
        for seconds in (0.001, 0.064, 1.024)
    ]
    with drawing():
        said = labels(curves.efficiency_by_length(rows, OTHERS))
    assert set(said) == {"ideal", "lease, 64 workers", "CloudKon (2013), sheet, 64 workers"}


def test_the_ideal_of_tasks_that_take_time_is_all_slots_busy() -> None:
    rows = [
        row(workers=count, slots=2, tasks=100 * count, ideal_s=10.0 * count, tasks_per_s=15.0 * count)
        for count in (1, 2)
    ]
    with drawing():
        figure = curves.throughput(rows)
    assert figure is not None
    [ideal] = [line for line in figure.axes[0].lines if line.get_label() == "ideal"]
    assert heights(ideal) == pytest.approx([20.0, 40.0])


def test_repeats_are_a_point_with_its_spread() -> None:
    rows = [sleeps(count, speed) for count in (1, 2) for speed in (80.0, 100.0, 130.0)]
    with drawing():
        figure = curves.throughput(rows)
    assert figure is not None
    [bars] = figure.axes[0].containers
    assert heights(bars[0]) == [100.0, 100.0]
    low, high = bars[2][0].get_segments()[0][:, 1]
    assert (low, high) == (80.0, 130.0)


def test_efficiency_stands_beside_what_was_measured_for_the_same_tasks() -> None:
    rows = [row(workers=count, tasks=100 * count, ideal_s=1.0 * count, efficiency=0.9) for count in (1, 2)]
    with drawing():
        said = labels(curves.efficiency(rows, OTHERS))
    clones = ("clone A (2016), SQS", "clone B (2016), SQS", "clone B (2016), threads")
    assert {"lease", *(f"{name}, 10 ms" for name in clones)} <= set(said)


def test_one_number_of_workers_makes_no_curve() -> None:
    assert curves.throughput([sleeps(4, 100.0), sleeps(4, 110.0)]) is None
    assert curves.efficiency([row(efficiency=None)]) is None


def test_series_differ_without_their_colours() -> None:
    looks = [series(number) for number in range(14)]
    assert len({(str(each.dash), each.marker) for each in looks}) == 14
    assert len({each.colour for each in looks[:7]}) == 7


def test_a_curve_of_latencies_has_few_points_and_ends_at_all() -> None:
    many = Latencies({number / 1e3: 1 for number in range(1, 100_001)})
    with drawing():
        figure = latencies({"lease": many, "none": Latencies({})})
    assert figure is not None
    assert labels(figure) == ["lease"]
    shares = heights(figure.axes[0].lines[0])
    assert len(shares) <= MOST_POINTS + 2
    assert shares[-1] == 100
    with drawing():
        assert latencies({"none": Latencies({})}) is None


def test_bars_are_few_shapes_however_many_they_are() -> None:
    bars = [Bar(0, at / 100, (at + 1) / 100, "done", at) for at in range(1_000)]
    line = Timeline(10.0, 1, True, [LifeLine("w1.a", last_s=10.0, ended=False, bars=bars)])
    with drawing():
        figure = workers(line)
        assert figure is not None
        text = as_svg(figure)
    assert set(labels(figure)) == {"done", "killed"}
    assert len(figure.axes[0].patches) == 1
    assert len(text) < 200_000


def test_many_workers_are_one_picture() -> None:
    lives = [LifeLine(f"w{number}.a", ended=True, busy=[0.5] * BINS) for number in range(5 * MOST_ROWS)]
    with drawing():
        figure = workers(Timeline(10.0, 1, True, lives))
        assert figure is not None
        assert figure.axes[0].images[0].get_size() == (MOST_ROWS, BINS)
        assert len(as_svg(figure)) < 200_000


def test_a_run_that_goes_on_has_nobody_killed() -> None:
    with drawing():
        figure = workers(Timeline(1.0, 1, False, [LifeLine("w1.a", last_s=1.0, bars=[])]))
    assert labels(figure) == []


def test_costs_are_by_service() -> None:
    with drawing():
        assert set(labels(costs({"lease": {"SQS": 1.0, "DynamoDB": 2.0, "S3": 0.0}}))) == {"SQS", "DynamoDB"}
        assert costs({"lease": {"SQS": 0.0}}) is None


HOSTILE = '<script>alert("&")</script>$x^2$'


@pytest.mark.parametrize("write", [as_svg, lambda figure: inline_svg(figure, 7, HOSTILE)])
def test_names_are_text_in_an_svg(write: Any) -> None:
    rows = [sleeps(count, 100.0, strategy=strategy) for count in (1, 2) for strategy in (HOSTILE, "none")]
    with drawing():
        figure = curves.throughput(rows)
        assert figure is not None
        assert HOSTILE in labels(figure)
        text = write(figure)
    assert "<script" not in text
    ElementTree.fromstring(text)


def test_an_inline_svg_has_ids_of_its_own_and_the_pages_ink() -> None:
    with drawing():
        figure = curves.throughput([sleeps(1, 1.0), sleeps(2, 2.0)])
        assert figure is not None
        text = inline_svg(figure, 7, "tasks a second")
    assert text.startswith('<svg role="img" aria-label="tasks a second" ')
    ids = set(re.findall(r'\bid="([^"]+)"', text))
    assert ids
    assert all(each.startswith("p7-") for each in ids)
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', text))
    assert used <= ids
    assert style.INK not in text
    assert "currentColor" in text
    assert not re.search(r'(?:href|src)="(?!#|data:)', text)


def test_the_same_records_make_the_same_file() -> None:
    def made() -> tuple[str, bytes]:
        with drawing():
            figure = curves.throughput([sleeps(1, 1.0), sleeps(2, 2.0)])
            assert figure is not None
            return as_svg(figure), as_png(figure)

    assert made() == made()


NEEDED: Final = [("matplotlib", "plot", "plots"), ("jinja2", "report", "controller")]


def without(missing: str, command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A run, its table, and the command, where a library is missing."""
    script = f"""
import sys
sys.modules[{missing!r}] = None
from kon.cli.program import main
for command in (["run", "exp.yml"], ["table"], [{command!r}]):
    sys.argv = ["kon", *command]
    try:
        main()
    except SystemExit as end:
        if end.code:
            sys.exit(end.code)
"""
    (folder / "exp.yml").write_text(
        "name: e\nbackend: memory\nworkload: {kind: sleep, count: 2, seconds: 0}\n"
    )
    return subprocess.run(
        [sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(("missing", "command", "extra"), NEEDED)
def test_without_a_library_the_command_that_installs_it_is_named(
    tmp_path: Path, missing: str, command: str, extra: str
) -> None:
    ended = without(missing, command, tmp_path)
    assert ended.returncode == 2
    assert f"need {missing}, which this Python lacks" in ended.stderr
    assert "nothing was written" in ended.stderr
    assert install(extra) in ended.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"exp.yml", "results"}


def test_without_matplotlib_a_page_has_its_tables_and_says_what_it_lacks(tmp_path: Path) -> None:
    ended = without("matplotlib", "report", tmp_path)
    assert ended.returncode == 0, ended.stderr
    [written] = tmp_path.glob("*.html")
    page = written.read_text()
    assert "<td" in page
    assert "<svg" not in page
    for told in (ended.stderr, page.replace("&#39;", "'")):
        assert "plots need matplotlib, which this Python lacks" in told
        assert install("plots") in told


def test_tasks_that_take_no_time_leave_no_picture_of_their_workers() -> None:
    lives = [LifeLine("w1.a", ended=True, busy=[0.001] * BINS)]
    with drawing():
        assert workers(Timeline(10.0, 1, True, lives)) is None
