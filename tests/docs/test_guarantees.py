"""docs/guarantees.md is what its evidence comes to, and the evidence still holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from docs.site import soon
from docs.site.evidence import (
    Evidence,
    Head,
    classes_without_occasion,
    counterexamples,
    read_evidence,
    write_evidence,
)
from docs.site.guarantees import (
    BACKENDS,
    DEEPER,
    NoLongerBreaks,
    data_file,
    deeper,
    guarantees,
    main,
    searched_anew,
    write_page,
)
from kon.core.errors import ConfigurationError
from kon.core.plugins import strategy_class
from kon.core.spec import Plugin
from kon.trials.prove.classes import (
    ALL_FAULTS,
    fault_class,
    fault_classes,
    promises_of,
    registered_strategies,
)
from kon.trials.prove.drawn import SCENARIO, play_seed
from kon.trials.prove.exhaustive import Covered, Exhausted
from kon.trials.prove.findings import by_strategy, most_telling, summed_up
from kon.trials.prove.playing import Counterexample
from kon.trials.prove.scenario import Invariant
from kon.trials.prove.search import Finding, Searched
from kon.trials.prove.services import Searchable

PAGE = Path(__file__).parents[2] / "docs" / "guarantees.md"
KEPT = read_evidence(data_file(PAGE))
ANEW = "write it again by `make guarantees`"


def named(example: Counterexample) -> str:
    return f"{example.strategy.label}-{example.invariant}"


# --- what is kept ------------------------------------------------------------------------------------


@pytest.mark.parametrize("example", KEPT.counterexamples, ids=named)
def test_a_counterexample_that_is_kept_still_breaks_what_it_is_kept_for(example: Counterexample) -> None:
    played = example.replay()
    assert example.break_in(played) is not None, (
        f"seed {example.seed} does not break it (any more): {ANEW}, or promise it"
    )
    assert played.broken == ()


def test_everything_that_is_not_promised_has_a_counterexample() -> None:
    kept = {(each.strategy.label, each.invariant) for each in KEPT.counterexamples}
    for strategy in registered_strategies():
        for invariant in set(Invariant) - promises_of(strategy):
            assert (strategy.label, invariant) in kept, f"{strategy.label}: {invariant}: {ANEW}"


def test_the_evidence_is_of_every_strategy_and_every_fault_and_of_today_s_promises() -> None:
    expected = [(s.label, f.name) for s in registered_strategies() for f in fault_classes()]
    assert [(each.strategy.label, each.fault) for each in KEPT.searched] == expected, ANEW
    for each in KEPT.searched:
        promised = {found.invariant for found in each.findings if found.promised}
        assert promised == promises_of(each.strategy), ANEW
        assert each.broken_promises == []
        assert each.faulty <= each.schedules


def test_every_fault_really_fired_by_itself_or_among_all() -> None:
    missing = set(classes_without_occasion(KEPT.searched))
    faults = fault_class(ALL_FAULTS)
    for seed in range(200):
        if not missing:
            break
        missing -= {fired.fault for fired in play_seed(SCENARIO, Plugin("lease"), faults, seed).fired}
    assert missing == set()


def test_the_page_is_what_the_evidence_comes_to() -> None:
    drawn = guarantees(KEPT, data_file(PAGE).name)
    assert PAGE.read_text() == drawn, "draw it again: python -m docs.site.guarantees --again"


# --- how it is made ----------------------------------------------------------------------------------


def cell(fault: str, schedules: int, **broken: int) -> Searched:
    """Of a strategy that promises all but one result."""
    findings = [
        Finding(each, each is not Invariant.ONE_RESULT, count, 7 if count else None)
        for each in Invariant
        for count in [broken.get(each.name, 0)]
    ]
    return Searched(Plugin("none"), fault, schedules, schedules, findings)


def page(*searched: Searched, small: list[Exhausted] | None = None) -> str:
    head = Head("1.2.3", "kon prove", 8, 3)
    return guarantees(Evidence(head, list(searched), [], small or []), "x.jsonl")


def test_what_was_not_broken_in_so_many_schedules_is_said_to_be_so() -> None:
    assert "not promised; not broken in 1,010 schedules" in page(cell("none", 10), cell("all", 1_000))


def test_what_was_broken_is_told_fault_by_fault_the_likeliest_first() -> None:
    text = page(cell("duplicate", 10, ONE_RESULT=2), cell("crash", 10), cell("all", 1_000, ONE_RESULT=500))
    assert "all 500/1,000, duplicate 2/10 " in text
    assert "not broken in" not in text
    assert "kon 1.2.3 wrote it" in text
    assert "1,020 schedules of 8 tasks on 3 workers" in text


def test_a_broken_promise_can_not_be_overlooked() -> None:
    assert "**BROKEN in 3**" in page(cell("all", 10, NOTHING_LOST=3))


def test_the_small_case_is_counted_and_its_breaks_are_named() -> None:
    lease = Plugin("lease")
    broke = {Invariant.ONE_START: 2}
    covered = (Covered("none", 1, 900, False, {}), Covered("crash", 40, 1_100, False, broke))
    text = page(cell("all", 10), small=[Exhausted(lease, 2, covered, ())])
    assert "| `lease`  |     1 |            2 |            40 |     2,000 | held     | one start" in text


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_evidence_is_of_every_fault_of_the_backends_own_code(backend: Searchable) -> None:
    cells = KEPT.others[backend]
    assert {each.fault for each in cells} == {each.name for each in fault_classes(backend)}, ANEW
    assert not [each for each in cells if each.broken_promises]
    for strategy in registered_strategies():
        fits = backend != "sqlite" or not strategy_class(strategy.name).needs_fifo
        assert (strategy.label in {each.strategy.label for each in cells}) == fits, ANEW


def test_most_of_a_task_s_way_is_run_and_what_is_left_out_is_named() -> None:
    """No share falls below what it was."""
    least = {"engine": 0.95, "strategies": 0.95, "sqlite": 0.9, "aws": 0.88}
    assert {each.name for each in KEPT.parts} == set(least)
    for each in KEPT.parts:
        assert each.run >= least[each.name] * each.lines, each
    text = PAGE.read_text()
    assert all(name in text for each in KEPT.parts for name in each.never)


def test_a_search_finds_all_that_the_page_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In small: one strategy."""
    for module in ("docs.site.guarantees", "kon.trials.prove.classes"):
        monkeypatch.setattr(f"{module}.registered_strategies", lambda: [Plugin("conditional_put")])
    monkeypatch.setattr("docs.site.guarantees.fault_classes", lambda backend: [fault_class("crash", backend)])
    monkeypatch.setattr("docs.site.guarantees.exhaust_each", lambda *_, **__: [])
    monkeypatch.setattr("docs.site.soon.KNOWN", soon.KNOWN[:1])
    monkeypatch.setattr("docs.site.soon.BEGINNINGS", (0,))
    monkeypatch.setattr("docs.site.soon.LIMIT", 2)
    found = searched_anew(20, jobs=1)
    assert set(found.others) == set(BACKENDS)
    assert {each.name for each in found.parts} == {"engine", "strategies", *BACKENDS}
    write_page(tmp_path / "page.md", found)
    assert "make guarantees SEEDS=20" in (tmp_path / "page.md").read_text()
    assert read_evidence(tmp_path / "page.jsonl") == found


def test_the_small_case_goes_further_where_it_is_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[list[str], int]] = []

    def exhaust_each(strategies: list[Plugin], preemptions: int, **options: Any) -> list[Exhausted]:
        asked.append(([each.label for each in strategies], preemptions))
        tasks: int = options["scenario"].tasks
        return [Exhausted(strategies[0], 2, (Covered("none", 1, 900 * tasks, False, {}),), (), tasks)]

    monkeypatch.setattr("docs.site.guarantees.exhaust_each", exhaust_each)
    once = deeper(KEPT, ["lease"], None)
    assert asked == [(["lease"], 2), (["lease"], 2)], "of one task and of two"
    assert deeper(once, ["lease"], None) == once, "what was there is drawn anew, and not twice"
    assert once.head.command.endswith(f"`{DEEPER} lease")
    rows = [each for each in once.exhausted if each.strategy.label == "lease"]
    assert [(each.tasks, each.schedules) for each in rows if each.preemptions == 2] == [(1, 900), (2, 1_800)]


def test_every_known_break_is_looked_for() -> None:
    assert [each.known for each in KEPT.soon] == list(soon.KNOWN), ANEW
    for each in KEPT.soon:
        assert len(each.by_seeds) == len(soon.BEGINNINGS)


def test_a_break_that_is_not_found_is_said_to_take_more_than_was_tried() -> None:
    told = soon.table([soon.Soon("x:Y", "It forgets", [3, None, 7])])
    assert "| It forgets              | 7 (3 to over 200) |" in told
    assert "| all of them, on average |                70 |" in told


def test_a_break_is_found_at_the_schedule_where_it_shows() -> None:
    """The strategy raises in the first schedule that has a task."""
    assert soon._first_break(("tests.trials.prove.mistakes:Faulty", 0)) == 1


def test_the_kept_evidence_has_the_small_case_of_every_strategy() -> None:
    found = {each.strategy.label for each in KEPT.exhausted if each.preemptions == 1}
    assert found == {each.label for each in registered_strategies()}, ANEW
    assert not any(each.broken for each in KEPT.exhausted)
    further = [each.schedules for each in KEPT.exhausted if each.preemptions == 2]
    assert sum(further) > 1_000_000, "as the page says"


def test_the_most_telling_cell_has_a_single_fault_if_one_will_do() -> None:
    rows = [
        cell("duplicate", 10, ONE_RESULT=2),
        cell("crash", 10, ONE_RESULT=3),
        cell("all", 10, ONE_RESULT=9),
    ]
    ordered = [each.fault for each in most_telling(rows, Invariant.ONE_RESULT)]
    assert ordered == ["crash", "duplicate", "all"]
    assert [each.fault for each in most_telling([rows[2], cell("crash", 10)], Invariant.ONE_RESULT)] == [
        "all"
    ]


def test_counterexamples_are_of_what_is_not_promised_and_was_broken() -> None:
    found = counterexamples([cell("duplicate", 10, ONE_RESULT=2, NOTHING_LOST=1)], SCENARIO)
    assert [each.invariant for each in found] == [Invariant.ONE_RESULT]


@pytest.mark.long
def test_where_the_most_telling_fault_breaks_it_too_rarely_for_a_small_world_another_does() -> None:
    rows = [cell("answer_duplicate", 10, ONE_RESULT=9), cell("duplicate", 10, ONE_RESULT=1)]
    (found,) = counterexamples(rows, SCENARIO)
    assert [fault.fault for fault in found.faults] == ["duplicate"]


def test_evidence_is_written_and_read_again(tmp_path: Path) -> None:
    write_page(tmp_path / "guarantees.md", KEPT)
    assert read_evidence(tmp_path / "guarantees.jsonl") == KEPT
    assert (tmp_path / "guarantees.jsonl").read_bytes() == data_file(PAGE).read_bytes()


def test_the_page_can_be_drawn_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = tmp_path / "guarantees.md"
    write_evidence(tmp_path / "guarantees.jsonl", KEPT)
    monkeypatch.setattr("sys.argv", ["guarantees", "--again", str(drawn)])
    main()
    assert drawn.read_text() == PAGE.read_text()


def test_a_counterexample_that_no_longer_breaks_is_not_told_but_named(tmp_path: Path) -> None:
    healed = msgspec.structs.replace(KEPT.counterexamples[0], faults=(), picks=())
    evidence = msgspec.structs.replace(KEPT, counterexamples=[healed])
    with pytest.raises(NoLongerBreaks, match="does not break it any more"):
        write_page(tmp_path / "guarantees.md", evidence)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"head": 1}\n', ":1: Expected `object | null`, got `int`"),
        ('\n{"head', ":1: "),
        ("{}\n", "no line says how this was found"),
    ],
)
def test_evidence_that_can_not_be_used_is_refused(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "guarantees.jsonl"
    file.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        read_evidence(file)
    assert said in str(caught.value)


def test_every_strategy_has_a_line_in_the_order_of_the_search() -> None:
    lines = [label for label in by_strategy(KEPT.searched) if f"| `{label}`" in PAGE.read_text()]
    assert lines == [each.label for each in registered_strategies()]
    assert all(len(summed_up(rows)) == len(Invariant) for rows in by_strategy(KEPT.searched).values())
