"""Which lines the search runs."""

from __future__ import annotations

import pytest

from kon.core.spec import Plugin
from kon.trials.prove.classes import fault_class, not_modelled
from kon.trials.prove.coverage import APART, DATA_PATH, RARE, Coverage, apart, coverage_of
from kon.trials.prove.search import Cell, search
from tests.cli.given import invoke


def test_it_counts_what_runs_and_names_what_does_not() -> None:
    measured = Coverage()
    assert not any(each.run for each in measured.found())
    with measured.watching():
        search([Cell(Plugin("lease"), fault_class("all"), 6)], jobs=1)
    found = {each.module: each for each in measured.found()}
    assert found["kon.strategies.lease"].run > 30
    assert found["kon.strategies.result_once"].run == 0
    assert "ResultOnce.admit" in found["kon.strategies.result_once"].never
    assert "Worker._heartbeat" not in found["kon.engine.worker"].never
    assert all(each.run <= each.lines for each in found.values())
    before = measured.found()
    search([Cell(Plugin("result_once"), fault_class("none"), 1)], jobs=1)
    assert measured.found() == before, "only while it watches"


def test_the_command_prints_it_and_what_is_not_modelled() -> None:
    printed = invoke("prove", "none", "--fault", "none", "--seeds", "1", "--coverage", "-q").stdout
    assert "Lines that were run: " in printed
    assert "% of engine, " in printed
    assert not_modelled("sim")[0] in printed


def test_a_backend_s_data_path_is_a_part_and_searches_add_up() -> None:
    cells = [Cell(Plugin("none"), fault_class("none", "sqlite"), 1)]
    both = {each.name: each for each in coverage_of([("sqlite", cells), ("sim", [])], jobs=1)}
    assert both["sqlite"].run > 100
    assert both["aws"].run == 0
    assert "queue.SqsQueue.send" in both["aws"].never
    assert 0 < both["engine"].run < both["engine"].lines


def test_what_is_not_counted_is_there_and_has_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def counted() -> dict[str, int]:
        return {each.name: each.lines for each in Coverage(*DATA_PATH).parts()}

    assert sorted(name for names in apart().values() for name in names) == sorted(APART)
    without = counted()
    for name in list(APART):
        monkeypatch.setattr("kon.trials.prove.coverage.APART", {k: v for k, v in APART.items() if k != name})
        assert sum(counted().values()) > sum(without.values()), name


def test_what_is_seldom_entered_is_a_function_that_is_counted() -> None:
    assert set(RARE) <= {name for each in Coverage(*DATA_PATH).parts() for name in each.never}


def test_it_is_about_a_search() -> None:
    assert invoke("prove", "none", "--seed", "1", "--coverage").exit_code == 2
