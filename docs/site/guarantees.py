"""docs/guarantees.md: `make guarantees` searches and writes it, and the evidence next to it.

`python -m docs.site.guarantees --again` draws the page from the evidence that is there, after a change to the
text or to how stories are told.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from docs.site.evidence import (
    Evidence,
    Head,
    classes_without_occasion,
    counterexamples,
    in_one_schedule,
    read_evidence,
    write_evidence,
)
from docs.site.soon import BEGINNINGS, how_soon, table
from kon.core.distribution import version
from kon.core.errors import KonError
from kon.core.plugins import strategy_class
from kon.report.tables import draw
from kon.trials.prove.classes import (
    ALL_FAULTS,
    fault_classes,
    not_modelled,
    promises_of,
    registered_strategies,
)
from kon.trials.prove.coverage import RARE, PartLines, apart, coverage_of
from kon.trials.prove.drawn import SCENARIO
from kon.trials.prove.exhaustive import SHARED_PAGE, SMALL, Exhausted, exhaust_each
from kon.trials.prove.findings import Broken, by_strategy, summed_up
from kon.trials.prove.playing import Counterexample
from kon.trials.prove.scenario import MEANING, Invariant
from kon.trials.prove.search import Cell, Searched, search
from kon.trials.prove.services import Searchable
from kon.trials.prove.telling import tell

_STYLE: Final = "github"

PAGE: Final = Path(__file__).parents[1] / "guarantees.md"

BACKENDS: Final[tuple[Searchable, ...]] = ("sqlite", "aws")
"""Backends whose own code is searched."""

ADDED: Final = "python -m docs.site.guarantees --added"
DEEPER: Final = "python -m docs.site.guarantees --deeper"

SHARE: Final = 20
"""Schedules with all faults at once, for each one with a fault alone."""

FEWER: Final = 10
"""The backends' own code takes ten times as long, and has a tenth of the schedules."""

COVERED: Final[dict[Searchable, tuple[int, int]]] = {"sim": (160, 2), "sqlite": (20, 1), "aws": (20, 1)}
"""Schedules whose lines are counted, of each strategy with all faults at once, and with each fault alone."""

_TEXT: Final = Path(__file__).with_suffix(".txt")
"""The page, with names in braces where something is drawn."""


class NoLongerBreaks(KonError):
    """A counter-example that was kept does not show any more what it is kept for."""


def guarantees(evidence: Evidence, data: str) -> str:
    """The page. data: the name of the file with the evidence, next to it. Raises NoLongerBreaks."""
    strategies = by_strategy(evidence.searched)
    unable = classes_without_occasion(evidence.searched)
    occasions = (
        f"\n{', '.join(f'`{name}`' for name in unable)}: these have an occasion only where another fault "
        "came first,\nas it does among all.\n"
    )
    return _TEXT.read_text().format(
        version=evidence.head.version,
        command=evidence.head.command,
        tasks=evidence.head.tasks,
        workers=evidence.head.workers,
        data=data,
        schedules=sum(each.schedules for each in evidence.searched),
        meanings="\n".join(f"- **{each}**: {meaning}." for each, meaning in MEANING.items()),
        verdicts=_verdicts(strategies),
        fired="" if not unable else " (from the fewest to the most over the strategies)",
        tried=_tried(strategies),
        occasions=occasions if unable else "",
        unmodelled="\n".join(f"- {each}" for each in not_modelled("sim")),
        others=_others(evidence.others),
        unmodelled_others="\n".join(
            f"- `{backend}`: {each}" for backend in BACKENDS for each in not_modelled(backend)
        ),
        parts=_parts(evidence.parts),
        left_out="\n".join(f"- {each.name}: {', '.join(each.never) or 'none'}" for each in evidence.parts),
        rare="\n".join(f"- {name}: {reason}." for name, reason in _rare(evidence.parts)),
        apart="\n".join(f"- {reason}: {', '.join(names)}" for reason, names in apart().items()),
        beginnings=len(BEGINNINGS),
        soon=table(evidence.soon),
        small=_small(evidence.exhausted),
        under=_under(strategies),
        stories="\n".join(_stories(evidence)),
    )


def _verdicts(strategies: dict[str, list[Searched]]) -> str:
    body = []
    for label, rows in strategies.items():
        total = sum(row.schedules for row in rows)
        body.append([f"`{label}`", f"{total:,}", *(_verdict(each) for each in summed_up(rows))])
    return draw(
        body, ["strategy", "schedules", *Invariant], ["left", "right", *["left"] * len(Invariant)], _STYLE
    )


def _verdict(broken: Broken) -> str:
    if broken.promised:
        return f"**BROKEN in {sum(broken.breaks.values()):,}**" if broken.breaks else "held"
    return "broken" if broken.breaks else f"not promised; not broken in {broken.schedules:,} schedules"


def _tried(strategies: dict[str, list[Searched]]) -> str:
    body = []
    for rows in zip(*strategies.values(), strict=True):
        counts = sorted({row.schedules for row in rows})
        fired = sorted({row.faulty for row in rows})
        body.append([f"`{rows[0].fault}`", _span(counts), _span(fired)])
    return draw(body, ["fault", "schedules", "with a fault"], ["left", "right", "right"], _STYLE)


def _others(others: dict[Searchable, list[Searched]]) -> str:
    body = []
    for backend, searched in others.items():
        for label, rows in by_strategy(searched).items():
            broken = summed_up(rows)
            kept = "**BROKEN**" if any(each.promised and each.breaks for each in broken) else "held"
            broke = ", ".join(each.invariant for each in broken if each.breaks and not each.promised)
            faulty = sum(row.faulty for row in rows)
            counts = [f"{broken[0].schedules:,}", f"{faulty:,}"]
            body.append([f"`{backend}`", f"`{label}`", *counts, kept, broke or "nothing"])
    names = ["backend", "strategy", "schedules", "with a fault", "promises", "broke what is not promised"]
    return draw(body, names, ["left", "left", "right", "right", "left", "left"], _STYLE)


def _parts(parts: Sequence[PartLines]) -> str:
    body = [[each.name, f"{each.lines:,}", f"{each.run:,}", f"{each.run / each.lines:.1%}"] for each in parts]
    return draw(body, ["part", "lines", "run", "share"], ["left", "right", "right", "right"], _STYLE)


def _rare(parts: Sequence[PartLines]) -> list[tuple[str, str]]:
    never = {name for each in parts for name in each.never}
    return [(name, reason) for name, reason in RARE.items() if name in never]


def _small(exhausted: Sequence[Exhausted]) -> str:
    body = []
    for each in exhausted:
        promised = promises_of(each.strategy)
        broke = {name for covered in each.searched for name, count in covered.breaks.items() if count}
        others = ", ".join(invariant for invariant in Invariant if invariant in broke - promised)
        kept = "**BROKEN**" if each.broken else "held"
        bound = "any" if each.preemptions is None else f"{each.preemptions:,}"
        counts = [f"{each.occasions:,}", f"{each.schedules:,}"]
        body.append([f"`{each.strategy.label}`", f"{each.tasks}", bound, *counts, kept, others or "nothing"])
    names = [
        "strategy",
        "tasks",
        "pre-emptions",
        "single faults",
        "schedules",
        "promises",
        "broke what is not promised",
    ]
    return draw(body, names, ["left", "right", "right", "right", "right", "left", "left"], _STYLE)


def _span(counts: Sequence[int]) -> str:
    return f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"


def _under(strategies: dict[str, list[Searched]]) -> str:
    body = []
    for label, rows in strategies.items():
        tried = {row.fault: row.schedules for row in rows}
        for broken in summed_up(rows):
            if broken.breaks:
                often = sorted(broken.breaks, key=lambda fault: -broken.breaks[fault] / tried[fault])
                text = ", ".join(f"{fault} {broken.breaks[fault]:,}/{tried[fault]:,}" for fault in often)
                body.append([f"`{label}`", broken.invariant.value, text])
    return draw(body, ["strategy", "invariant", "broken in, of all schedules"], ["left"] * 3, _STYLE)


def _stories(evidence: Evidence) -> list[str]:
    told = []
    for label in by_strategy(evidence.searched):
        own = [each for each in evidence.counterexamples if each.strategy.label == label]
        if own:
            told.append(f"### {label}\n")
        for group in in_one_schedule(own):
            told.append(f"{_in_words([each.invariant for each in group])}:\n")
            told.append(f"```text\n{story_of(group)}```\n")
    return told


def _in_words(invariants: Sequence[str]) -> str:
    *some, last = invariants
    return f"{', '.join(some)} and {last}" if some else last


def story_of(group: Sequence[Counterexample]) -> str:
    """The story of counter-examples that share a schedule. Raises NoLongerBreaks."""
    story = tell(group[0], [each.invariant for each in group])
    missing = [each for each in group if each.break_in(each.replay()) is None]
    if missing or story is None:
        each = missing[0]
        raise NoLongerBreaks(
            f'{each.strategy.label}: the counter-example to "{each.invariant}", seed {each.seed}, does not '
            "break it any more. Find another by `python -m docs.site.guarantees --examples`; where "
            "there is none any more, the strategy may promise it"
        )
    return story


def data_file(page: Path) -> Path:
    """Where the evidence of a page stands."""
    return page.with_suffix(".jsonl")


def write_page(page: Path, evidence: Evidence) -> None:
    """Write the evidence, and the page drawn from it. Raises NoLongerBreaks before anything is written."""
    data = data_file(page)
    text = guarantees(evidence, data.name)
    write_evidence(data, evidence)
    page.write_text(text)


# --- the search --------------------------------------------------------------------------------------


def searched_anew(seeds: int, jobs: int | None) -> Evidence:
    """Search everything. Raises KonError where a promise breaks."""
    head = Head(version(), f"make guarantees SEEDS={seeds}", SCENARIO.tasks, SCENARIO.workers)
    found = search(_cells("sim", seeds, seeds // SHARE), SCENARIO, jobs, _tell)
    others = {}
    for backend in BACKENDS:
        base = msgspec.structs.replace(SCENARIO, backend=backend)
        others[backend] = search(_cells(backend, seeds // FEWER, seeds // FEWER // SHARE), base, jobs, _tell)
    small = exhaust_each(registered_strategies(), 1, jobs=jobs, on_progress=lambda each: print(each.extent()))
    for each in (*found, *(cell for cells in others.values() for cell in cells)):
        if each.broken_promises or each.raised:
            raise KonError(f"{each.strategy.label}, {each.fault}: a promise broke; see `kon prove`")
    if any(each.broken for each in small):
        raise KonError("a promise broke in the small model; see `kon prove --exhaustive`")
    examples = counterexamples(found, SCENARIO)
    return Evidence(head, found, examples, small, others, _covered(jobs), how_soon(jobs))


def with_added(kept: Evidence, jobs: int | None) -> Evidence:
    """The evidence, with cells of the faults that it has none of, each of as many schedules as others."""
    searched = _completed("sim", kept.searched, jobs)
    others = {backend: _completed(backend, cells, jobs) for backend, cells in kept.others.items()}
    by = kept.head.command
    command = by if by.endswith(ADDED) else f"{by}` and `{ADDED}"
    head = msgspec.structs.replace(kept.head, command=command)
    return msgspec.structs.replace(kept, head=head, searched=searched, others=others)


def deeper(kept: Evidence, strategies: Sequence[str], jobs: int | None) -> Evidence:
    """The evidence, with the small cases of these strategies under one pre-emption more.

    Raises KonError where a promise breaks.
    """
    chosen = [each for each in registered_strategies() if each.label in strategies]
    added = [
        each
        for case in (SMALL, SHARED_PAGE)
        for each in exhaust_each(
            chosen, 2, jobs=jobs, on_progress=lambda each: print(each.extent(), flush=True), scenario=case
        )
    ]
    if any(each.broken for each in added):
        raise KonError("a promise broke in the small model; see `kon prove --exhaustive --preemptions 2`")
    return _with_deeper(kept, strategies, added)


def _with_deeper(kept: Evidence, strategies: Sequence[str], added: Sequence[Exhausted]) -> Evidence:
    earlier = [
        each for each in kept.exhausted if each.preemptions != 2 or each.strategy.label not in strategies
    ]
    both = sorted([*earlier, *added], key=lambda each: (each.strategy.label, each.preemptions, each.tasks))
    by = f"{kept.head.command.partition(f'` and `{DEEPER}')[0]}` and `{DEEPER} {' '.join(strategies)}"
    return msgspec.structs.replace(kept, head=msgspec.structs.replace(kept.head, command=by), exhausted=both)


def _completed(backend: Searchable, kept: list[Searched], jobs: int | None) -> list[Searched]:
    there = {(each.strategy.label, each.fault): each for each in kept}
    alone = next(each.schedules for each in kept if each.fault != ALL_FAULTS)
    cells = _cells(backend, alone, alone)
    added = [each for each in cells if (each.strategy.label, each.faults.name) not in there]
    base = msgspec.structs.replace(SCENARIO, backend=backend)
    for each in search(added, base, jobs, _tell):
        if each.broken_promises or each.raised:
            raise KonError(f"{each.strategy.label}, {each.fault}: a promise broke; see `kon prove`")
        there[each.strategy.label, each.fault] = each
    return [there[each.strategy.label, each.faults.name] for each in cells]


def _covered(jobs: int | None) -> list[PartLines]:
    return coverage_of([(name, _cells(name, *each)) for name, each in COVERED.items()], jobs)


def _cells(backend: Searchable, together: int, alone: int) -> list[Cell]:
    """together, alone: schedules of each strategy with all faults at once, and with each; at least one."""
    return [
        Cell(strategy, faults, max(1, together if faults.name == ALL_FAULTS else alone))
        for strategy in registered_strategies()
        if backend != "sqlite" or not strategy_class(strategy.name).needs_fifo
        for faults in fault_classes(backend)
    ]


def _tell(done: int) -> None:
    if not done % 30:
        print(f"{done} cells", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(prog="docs.site.guarantees")
    parser.add_argument("--seeds", type=int, default=1_000, help="schedules of each strategy")
    parser.add_argument("--jobs", type=int, help="processes; all cores without it")
    parser.add_argument("--again", action="store_true", help="draw the page from the evidence that is there")
    parser.add_argument("--soon", action="store_true", help="as --again, but look for known breaks anew")
    parser.add_argument("--examples", action="store_true", help="as --again, but look for what breaks anew")
    parser.add_argument("--parts", action="store_true", help="as --again, but count anew which lines run")
    parser.add_argument("--added", action="store_true", help="as --again, but search faults that are new")
    parser.add_argument(
        "--deeper", nargs="+", metavar="STRATEGY", help="as --again, but search its small case further"
    )
    parser.add_argument("page", type=Path, nargs="?", default=PAGE)
    args = parser.parse_args()
    page: Path = args.page
    if args.soon or args.examples or args.parts or args.added or args.deeper:
        kept = read_evidence(data_file(page))
        if args.examples:
            found = search(_cells("sim", args.seeds, args.seeds // SHARE), SCENARIO, args.jobs, _tell)
            kept = msgspec.structs.replace(kept, counterexamples=counterexamples(found, SCENARIO))
        if args.soon:
            kept = msgspec.structs.replace(kept, soon=how_soon(args.jobs))
        if args.added:
            kept = with_added(kept, args.jobs)
        if args.deeper:
            kept = deeper(kept, args.deeper, args.jobs)
        if args.parts:
            kept = msgspec.structs.replace(kept, parts=_covered(args.jobs))
        write_page(page, kept)
    else:
        write_page(
            page, read_evidence(data_file(page)) if args.again else searched_anew(args.seeds, args.jobs)
        )


if __name__ == "__main__":
    main()
