"""What pages say of strategies, events and tables is what there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from docs.site.hooks import slug
from docs.site.variables import page as page_of_variables
from kon.cli.group import EXIT_PIPE
from kon.cli.program import EXIT_FAULT
from kon.core import errors
from kon.core.clock import Clock
from kon.core.errors import KonError
from kon.core.ledger import Ledger
from kon.core.plugins import names, strategy_class
from kon.core.strategy import Guarantee
from kon.engine.records.events import Event
from kon.report.summary import CONTRACT
from tests.docs.blocks import prose

PROJECT = Path(__file__).parents[2]


def lines_of(page: str, columns: int) -> list[list[str]]:
    """The lines of a page's tables that have so many columns and begin with a name in backticks."""
    lines = [line.strip("|").split("|") for line in (PROJECT / page).read_text().splitlines()]
    cells = [[cell.strip() for cell in line] for line in lines]
    return [line for line in cells if len(line) == columns and line[0].startswith("`")]


def guarantee_of(label: str) -> Guarantee:
    """Of a strategy by its label, such as read_then_write(record=after)."""
    name, _, options = label.rstrip(")").partition("(")
    given: dict[str, Any] = dict(each.split("=") for each in options.split(", ") if each)
    made = strategy_class(name)(cast(Ledger, None), "worker", cast(Clock, None), **given)
    return made.guarantee


def test_promises_are_those_that_strategies_declare() -> None:
    part = re.search(
        r"<!-- promises -->\n(.*?)<!-- end -->", (PROJECT / "docs/strategies.md").read_text(), re.S
    )
    assert part is not None
    lines = re.findall(r"^\| \[`([^`]+)`\]\(\S+\) \| (.*) \|$", part[1], re.M)
    table = {label: [cell == "yes" for cell in cells.split(" | ")] for label, cells in lines}
    assert {label.partition("(")[0] for label in table} == set(names("kon.strategies"))
    for label, said in table.items():
        declared = guarantee_of(label)
        assert said == [
            declared.nothing_lost,
            declared.one_start,
            declared.one_start_while_held,
            declared.one_result,
        ], label


def test_the_readme_is_short_and_its_lines_are_wrapped() -> None:
    readme = (PROJECT / "README.md").read_text()
    assert len(readme.split()) <= 900
    lines = prose(PROJECT / "README.md").splitlines()
    assert [line for line in lines if len(line) > 80 and not line.startswith(("|", "!"))] == []


def test_the_playbook_lets_those_lose_that_do_not_promise_otherwise() -> None:
    variables = yaml.safe_load((PROJECT / "inventory" / "group_vars" / "all.yml").read_text())
    may_lose = {name for name in names("kon.strategies") if not strategy_class(name).guarantee.nothing_lost}
    assert set(variables["may_lose"]) == may_lose


def test_every_event_is_described() -> None:
    described = [line[0].strip("`") for line in lines_of("docs/records.md", 4)]
    assert described == [event.value for event in Event]


def test_every_column_of_the_contract_is_described() -> None:
    page = (PROJECT / "docs" / "records.md").read_text()
    described = page.partition("## The table")[2]
    assert [name for name in CONTRACT if f"`{name}`" not in described] == []


def test_every_class_of_errors_is_told_of_with_its_exit_code() -> None:
    told = {line[0].strip("`"): int(line[1]) for line in lines_of("docs/troubleshooting.md", 3)}
    classes = [
        each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, KonError)
    ]
    assert told == {each.__name__: each.exit_code for each in classes if each is not KonError}


def test_every_exit_code_is_told_of() -> None:
    page = (PROJECT / "docs" / "troubleshooting.md").read_text()
    told = {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.M)}
    classes = [
        each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, KonError)
    ]
    assert told == {0, 4, 5, EXIT_FAULT, EXIT_PIPE} | {each.exit_code for each in classes}


def test_figures_beside_peers_are_those_of_the_benchmarks() -> None:
    peers = (PROJECT / "docs" / "peers.md").read_text()
    page = (PROJECT / "docs" / "benchmarks.md").read_text()

    def figure(pattern: str) -> str:
        found = re.search(pattern, page, re.M)
        assert found is not None, f"benchmarks.md has nothing like {pattern}"
        return found[1]

    spread = r"[\d.]+x \([\d.]+ to [\d.]+\)"
    celery = figure(rf"^- ({spread}) Celery").replace("x (", " times Celery's tasks/s (")
    no_knob = figure(rf"^- ({spread}) with a file without a knob").replace("x (", " times (")
    million = figure(r"^- (\d+ s and \$[\d.]+) with `lease`")
    huey = float(figure(r"^\| kon, normal, no knob +\| +([\d.]+) "))
    commands = r"^ +{} +[\d,]+ +([\d.]+) "
    kon, parallel, hyperqueue = (
        float(figure(commands.format(row))) for row in ("kon map", "GNU parallel", "HyperQueue")
    )
    for said in (
        celery,
        f"{no_knob} without a knob",
        f"take {million} there",
        f"kon has {huey:.1f} times huey's tasks/s",
        f"{1 / kon:.1f} times kon map's",
        f"{parallel / kon:.1f} times kon map's",
        f"{hyperqueue / kon:.1f} times kon map's",
    ):
        assert said in peers


def test_the_variables_of_playbooks_are_as_they_are_checked() -> None:
    """Where they are not: `python docs/site/variables.py` writes them."""
    text = (PROJECT / "docs" / "first-fleet.md").read_text()
    assert text == page_of_variables(text)


PAGES = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *sorted((PROJECT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_fence_is_closed(page: Path) -> None:
    """What follows an open one would be taken for code, and no test of commands would see it."""
    assert len(re.findall(r"^```", page.read_text(), re.M)) % 2 == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", text):
        linked = page.parent / target if target else page
        assert linked.exists(), f"{page.name} links to {target}, which is not there"
        if anchor:
            headings = re.findall(r"(?m)^#+ (.+)$", linked.read_text())
            assert anchor in {slug(heading) for heading in headings}, anchor


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_pages_name_are_there(page: Path) -> None:
    """`kon/...`, `tests/...` and so on, as code within the text."""
    named = re.findall(r"`((?:kon|tests|strategies|playbooks|workloads|inventory)/[\w./-]+)`", prose(page))
    assert [name for name in named if not (PROJECT / name).exists()] == []
