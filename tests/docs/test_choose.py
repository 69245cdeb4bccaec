"""docs/strategies.md: its tables are what was searched, measured and simulated."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final

import pytest
from click.testing import CliRunner

from kon.cli.group import kon
from tests.docs.blocks import PROJECT, blocks

PAGE: Final = PROJECT / "docs" / "strategies.md"


def table(text: str) -> dict[str, list[str]]:
    """The cells of a table's lines, by their first without its link; the line of titles has none of those."""
    found = {}
    for line in re.findall(r"^\|(.*)\|$", text, re.M):
        name, *cells = (cell.strip() for cell in line.split("|"))
        if (quoted := re.search(r"`([^`]+)`", name)) is not None:
            found[quoted[1]] = cells
    return found


def marked(name: str) -> dict[str, list[str]]:
    part = re.search(rf"<!-- {name} -->\n(.*?)<!-- end -->", PAGE.read_text(), re.S)
    assert part is not None
    return table(part[1])


def test_promises_are_those_of_the_search() -> None:
    page = (PROJECT / "docs" / "guarantees.md").read_text()
    section = re.search(r"## What held and what broke\n(.*?)\n## ", page, re.S)
    assert section is not None
    searched = {name: [cells[1], *cells[3:6]] for name, cells in table(section[1]).items()}
    words = {"yes": "held", "no": "broken"}
    assert {name: [words[cell] for cell in cells] for name, cells in marked("promises").items()} == searched


def test_measured_figures_are_those_of_the_benchmarks() -> None:
    page = (PROJECT / "docs" / "benchmarks.md").read_text()
    rows = [
        [cell.strip() for cell in line.split("|")] for line in re.findall(r"^\| (kon, .*)\|$", page, re.M)
    ]
    speed = {row[0]: row[2] for row in rows if len(row) == 8 and row[-2] != ""}
    requests = {row[0]: (row[1], row[8]) for row in rows if len(row) == 9}
    assert {
        name: [
            figure
            for what in (f"kon, {name}", f"kon, {name}, bundle 100")
            for figure in (speed[what], *requests[what])
        ]
        for name in marked("measured")
    } == marked("measured")


@pytest.mark.long
def test_the_simulated_table_is_what_the_simulation_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exactly in what is promised, and within a tenth in what things cost."""
    monkeypatch.chdir(tmp_path)
    (experiment,) = (block for block in blocks(PAGE) if block.file == "choose.yml")
    Path("choose.yml").write_text(experiment.text)
    ended = CliRunner().invoke(kon, ["run", "choose.yml", "--json", "--quiet"], prog_name="kon")
    rows = json.loads(ended.stdout)["runs"]
    said = marked("simulated")
    assert len(rows) == len(said)
    for row, (label, cells) in zip(rows, said.items(), strict=True):
        requests, dollars, starts, twice, lost = map(float, cells)
        assert row["strategy"].startswith(label.partition("(")[0])
        assert row["requests_per_task"] == pytest.approx(requests, rel=0.1), label
        assert row["dollars_per_million_tasks"] == pytest.approx(dollars, rel=0.1), label
        for name, count in (("duplicate_starts", starts), ("duplicate_results", twice), ("lost", lost)):
            assert (row[name] > 0) == (count > 0), f"{label}: {name} is {row[name]}"
