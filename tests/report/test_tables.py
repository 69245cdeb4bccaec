"""Tables, from rows alone."""

from __future__ import annotations

from typing import Any

import pytest

from kon.report.tables import rounded, table, tables, with_spread


def row(**changes: Any) -> dict[str, Any]:
    return {
        "run": "compare-lease-w1-r1",
        "backend": "sqlite",
        "strategy": "lease",
        "workers": 1,
        "slots": 1,
        "repeat": 1,
        "tasks": 1000,
        "done": 1000,
        "failed": 0,
        "dead": 0,
        "lost": 0,
        "duplicate_deliveries": 50,
        "duplicates_avoided": 50,
        "duplicate_starts": 0,
        "duplicate_results": 0,
        "wall_s": 10.5,
        "tasks_per_s": 95.238,
        "efficiency": 0.9523,
        "requests_per_task": 1.5,
        "worker_cpu_us_per_task": 400.0,
        "experiment": "compare",
        "kind": "sleep",
        **changes,
    }


STRATEGIES = [
    row(strategy=name, workers=workers, tasks=1000 * workers)
    for name in ("none", "read_then_write", "conditional_put", "lease")
    for workers in (1, 2, 4)
]


def cells(text: str) -> list[list[str]]:
    """The body of a table."""
    return [line.split() for line in text.split("---\n", 1)[1].split("\n\n")[0].splitlines()]


def test_strategies_stand_side_by_side() -> None:
    text = table(STRATEGIES)
    assert text.startswith("compare: 1,000 x sleep for each worker on sqlite\n")
    for header in (
        "strategy",
        "workers",
        "time",
        "tasks/s",
        "efficiency",
        "avoided",
        "starts",
        "twice",
        "lost",
    ):
        assert header in text
    body = cells(text)
    assert len(body) == 12
    assert body[0] == ["none", "1", "10.5", "95.2", "95.2", "50", "0", "0", "0"]
    assert max(map(len, text.splitlines())) <= 100


def test_failed_dead_and_cancelled_have_columns_where_there_are_any() -> None:
    assert "failed" not in table(STRATEGIES)
    text = table([*STRATEGIES, row(strategy="result_once", failed=3, done=997)])
    assert "failed" in text
    assert "dead" not in text


def test_repeats_are_one_line_medians_for_figures_sums_for_counts() -> None:
    runs = [
        row(strategy=strategy, repeat=repeat, wall_s=wall_s, lost=lost)
        for strategy in ("lease", "none")
        for repeat, wall_s, lost in ((1, 10.0, 0), (2, 13.0, 1), (3, 11.0, 0))
    ]
    text = table(runs)
    assert "median of 3 runs ± largest deviation, counts added up" in text
    body = cells(text)
    assert len(body) == 2
    assert body[0][:4] == ["lease", "1", "11.0", "±2.0"]
    assert body[0][-1] == "1"  # the median of the lost would have been 0


def test_options_are_shown_where_they_tell_variants_of_a_strategy_apart() -> None:
    rows = [
        row(strategy_options={"lease_s": 5, "skew_s": 0.1}),
        row(strategy_options={"lease_s": 30, "skew_s": 0.1}),
        row(strategy="none", strategy_options={"x": 1}),
    ]
    assert [line[:2] for line in cells(table(rows))] == [
        ["lease", "lease_s=5"],
        ["lease", "lease_s=30"],
        ["none", "1"],
    ]


def test_one_run_has_a_short_table() -> None:
    text = table([row(failed=2, done=998, duplicates_avoided=0)])
    assert cells(text) == [["compare-lease-w1-r1", "1,000", "998", "2", "0", "0", "10.5", "95.2", "95.2"]]
    assert "duplicates" not in text


def test_without_an_ideal_time_there_is_no_column_for_efficiency() -> None:
    assert "efficiency" not in table([row(efficiency=None)])
    assert "-" in cells(table([row(efficiency=None), row(strategy="none")]))[0]


def test_each_experiment_has_a_table() -> None:
    text = tables([row(experiment="one"), row(experiment="two"), row(experiment="one", workers=2)])
    assert [part.split(":")[0] for part in text.split("\n\n")[::2]] == ["one", "two"]


def test_a_row_with_the_promised_names_alone_is_enough() -> None:
    bare = {key: value for key, value in row().items() if key not in ("experiment", "kind")}
    assert "compare-lease-w1-r1" in table([bare])


def test_headers_stand_on_one_line_where_the_style_needs_it() -> None:
    lines = table(STRATEGIES, "github").splitlines()[2:]
    assert all(line.startswith("|") for line in lines)
    assert "duplicates avoided" in lines[0]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.000"),
        (0.01234, "0.012"),
        (0.9996, "1.00"),
        (0.578, "0.58"),
        (9.994, "9.99"),
        (9.996, "10.0"),
        (99.94, "99.9"),
        (99.96, "100"),
        (12345.6, "12,346"),
    ],
)
def test_three_digits_are_shown(value: float, text: str) -> None:
    assert rounded(value) == text


def test_spread() -> None:
    assert with_spread([None]) == "-"
    assert with_spread([5.0, None]) == "5.00"
    assert with_spread([123.0, 130.4]) == "127 ±4"


def test_what_the_spread_hides_is_said() -> None:
    def repeated(strategy: str, *speeds: float) -> list[dict[str, Any]]:
        return [
            row(strategy=strategy, repeat=number, tasks_per_s=speed)
            for number, speed in enumerate(speeds, start=1)
        ]

    fast, near = repeated("none", 100.0, 110.0, 105.0), repeated("lease", 90.0, 108.0, 95.0)
    far = repeated("conditional_put", 10.0, 11.0, 12.0)
    text = table([*fast, *near, *far])
    assert text.endswith("1 worker: the spread of 3 repeats hides whether none is faster than lease")
    assert "hides" not in table([*fast, *far])
    assert "hides" not in table([*fast[:1], *near[:1]]), "one repeat of each says nothing of a spread"
    assert "hides" not in table([*fast, *[{**each, "workers": 2} for each in near]]), "other workers"


def test_latency_requests_and_dollars_have_columns_where_they_are_known() -> None:
    plain = table([row(latency_p50_s=0.0305, latency_p99_s=1.25, duplicates_avoided=0)])
    assert plain.splitlines()[-1].split()[-2:] == ["30.5", "1,250"]
    assert "requests" not in plain
    wide = table([row(latency_p50_s=0.0305, latency_p99_s=1.25)], "github")
    assert "1,500,000" in wide, "of requests, for a million tasks"
    paid = table([row(usd=0.002, duplicates_avoided=0)])
    assert paid.splitlines()[-1].split()[-2:] == ["1,500,000", "2.00"]


def test_tables_fit_a_terminal_with_latencies() -> None:
    rows = [{**each, "latency_p50_s": 0.0305, "latency_p99_s": 0.1} for each in STRATEGIES]
    assert max(map(len, table(rows).splitlines())) <= 100


def test_dollars_stand_with_the_region_and_date_of_their_prices() -> None:
    prices = {"region": "us-east-1", "date": "2026-01-15"}
    text = table([row(usd=0.002, prices=prices), row(usd=0.003, prices=prices, workers=2)])
    assert text.splitlines()[0].count("$ for requests, by the prices of us-east-1, 2026-01-15") == 1
    assert "prices" not in table([row()])
