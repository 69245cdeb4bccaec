"""`kon plan --autoscale`: a policy tried in virtual time, beside fleets of fixed sizes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.given import invoke, write

TASKS = """\
name: planned
backend: sqlite
workload: {kind: sleep, count: 600, seconds: 2}
workers: [1, 4]
"""


def trials(folder: Path, policy: str, *options: str) -> list[dict[str, Any]]:
    (folder / "policy.yml").write_text(policy)
    words = ["--autoscale", str(folder / "policy.yml"), "--json", "-q", *options]
    result = invoke("plan", write(folder, TASKS), *words)
    assert result.exit_code == 0, result.output
    [found] = json.loads(result.stdout)["policies"]
    told: list[dict[str, Any]] = found["trials"]
    return told


@pytest.mark.long
def test_a_policy_stands_beside_fixed_numbers_of_hosts(tmp_path: Path) -> None:
    policy, one, four = trials(tmp_path, "max_hosts: 4\ntarget_s: 200\n", "--arrive", "30m")
    assert [each["hosts"] for each in (policy, one, four)] == [None, 1, 4]
    assert one["makespan_s"] > 1_770, "when the last come"
    assert four["host_hours"] > 1.9
    assert policy["host_hours"] < 0.6 * four["host_hours"], "which is what it is for"
    assert 1 <= policy["most_hosts"] <= 4
    assert policy["usd"] < four["usd"]
    assert policy["left"] == 0
    changes = [each["change"] for each in policy["moments"]]
    assert sum(changes) == 0, "all that came have gone"
    assert policy["moments"][-1]["hosts"] == 0


def test_a_fixed_fleet_costs_what_it_takes(tmp_path: Path) -> None:
    _, one, four = trials(tmp_path, "max_hosts: 4\n")
    for hosts, each in ((1, one), (4, four)):
        assert each["host_hours"] == pytest.approx(hosts * each["makespan_s"] / 3600)
        assert each["usd_hosts"] == pytest.approx(each["host_hours"] * 0.0104, rel=0.01)
    assert 1_200 < one["makespan_s"] < 1_400


@pytest.mark.long
def test_a_rule_brings_hosts_that_the_target_does_not_ask_for(tmp_path: Path) -> None:
    calm = trials(tmp_path, "max_hosts: 9\ntarget_s: 9000\n", "--arrive", "30m")[0]
    rule = "rules:\n  burst: {arrived: 30, within_s: 900, add: 2}\n"
    ruled = trials(tmp_path, f"max_hosts: 9\ntarget_s: 9000\n{rule}", "--arrive", "30m")[0]
    assert calm["most_hosts"] == 1
    assert ruled["most_hosts"] >= 3
    assert any(each["why"].startswith("rule burst") for each in ruled["moments"])


def test_what_max_cost_leaves_undone_is_said(tmp_path: Path) -> None:
    policy = trials(tmp_path, "max_hosts: 4\nmax_cost: 0.002\n")[0]
    assert policy["left"] > 0
    assert policy["usd_hosts"] <= 0.0021


def test_the_table(tmp_path: Path) -> None:
    (tmp_path / "policy.yml").write_text("max_hosts: 4\n")
    result = invoke("plan", write(tmp_path, TASKS), "--autoscale", str(tmp_path / "policy.yml"), "-q")
    assert "planned: 600 x sleep, all at once, on t3.micro" in result.stdout
    assert "policy, up to " in result.stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--arrive", "1h"], "--arrive is for --autoscale"),
        (["--autoscale", "p.yml", "--budget", "1usd"], "--autoscale takes no --deadline and no --budget"),
        (["--autoscale", "no.yml"], "no.yml: can't be read"),
    ],
)
def test_what_does_not_go_together(tmp_path: Path, options: list[str], said: str) -> None:
    result = invoke("plan", write(tmp_path, TASKS), "-q", *options)
    assert (result.exit_code, said in result.stderr) == (2, True), result.stderr
