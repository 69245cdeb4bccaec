"""What docs/guarantees.md is drawn from, as docs/guarantees.jsonl has it: counts, and counter-examples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from docs.site.soon import Soon
from kon.backends.sim.faults import Fired
from kon.core.errors import ConfigurationError
from kon.core.spec import Plugin
from kon.trials.prove.classes import NO_FAULT, fault_class
from kon.trials.prove.coverage import PartLines
from kon.trials.prove.exhaustive import Exhausted
from kon.trials.prove.findings import by_strategy, most_telling, summed_up
from kon.trials.prove.playing import Counterexample
from kon.trials.prove.scenario import Invariant, Scenario
from kon.trials.prove.search import Finding, Searched
from kon.trials.prove.services import Searchable
from kon.trials.prove.shrink import shortest


class Head(msgspec.Struct, frozen=True):
    """How the evidence was found. version: of kon. tasks, workers: in each schedule of the search."""

    version: str
    command: str
    tasks: int
    workers: int


class Evidence(msgspec.Struct, frozen=True):
    """A search, and a counter-example for each invariant that broke in it without being promised.

    exhausted: the small model of each strategy, searched in whole. others: cells of the backends' own code,
    by backend. parts: which lines all that has run. soon: how many schedules known breaks take.
    """

    head: Head
    searched: list[Searched]
    counterexamples: list[Counterexample]
    exhausted: list[Exhausted]
    others: dict[Searchable, list[Searched]] = {}
    parts: list[PartLines] = []
    soon: list[Soon] = []


def counterexamples(searched: Sequence[Searched], base: Scenario) -> list[Counterexample]:
    """The shortest for each invariant that is not promised and was broken, in the order of the search."""
    found = []
    for rows in by_strategy(searched).values():
        for broken in summed_up(rows):
            if broken.promised or not broken.breaks:
                continue
            for row in most_telling(rows, broken.invariant):
                # what broke once in a thousand schedules may not in the few of a small world
                example = shortest(base, row.strategy, fault_class(row.fault), broken.invariant)
                if example is not None:
                    found.append(example)
                    break
    return found


def in_one_schedule(examples: Sequence[Counterexample]) -> list[list[Counterexample]]:
    """Those of one strategy and one schedule together: they differ in nothing but in what is broken."""
    groups: list[list[Counterexample]] = []
    for example in examples:
        for group in groups:
            if msgspec.structs.replace(group[0], invariant=example.invariant) == example:
                group.append(example)
                break
        else:
            groups.append([example])
    return groups


def classes_without_occasion(searched: Sequence[Searched]) -> list[str]:
    """The faults that never fired where each was by itself: they need another to come first."""
    fired: dict[str, int] = {}
    for each in searched:
        fired[each.fault] = fired.get(each.fault, 0) + each.faulty
    return [fault for fault, count in fired.items() if not count and fault != NO_FAULT]


# --- on disk ---------------------------------------------------------------------------------------


class _Example(msgspec.Struct, frozen=True):
    """A counter-example with what its scenario has different from others."""

    invariant: Invariant
    scenario: dict[str, Any]
    seed: int
    faults: tuple[Fired, ...]
    picks: tuple[int, ...]


class _Cell(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was found in a cell. broken: how often, and by which seed first, where an invariant broke."""

    strategy: Plugin
    fault: str
    schedules: int
    faulty: int
    promised: list[Invariant]
    broken: dict[Invariant, tuple[int, int | None]]
    backend: Searchable = "sim"


class _Line(msgspec.Struct, frozen=True, omit_defaults=True):
    head: Head | None = None
    cell: _Cell | None = None
    counterexample: _Example | None = None
    exhausted: Exhausted | None = None
    part: PartLines | None = None
    soon: Soon | None = None


def write_evidence(file: Path, evidence: Evidence) -> None:
    """One line for the head, for each cell, counter-example and small model."""
    lines = [_Line(head=evidence.head)]
    lines += [_Line(cell=_cell(each)) for each in evidence.searched]
    lines += [_Line(cell=_cell(each, name)) for name, cells in evidence.others.items() for each in cells]
    lines += [_Line(part=each) for each in evidence.parts]
    lines += [_Line(soon=each) for each in evidence.soon]
    lines += [_Line(counterexample=_packed(each)) for each in evidence.counterexamples]
    lines += [_Line(exhausted=each) for each in evidence.exhausted]
    file.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))


def read_evidence(file: Path) -> Evidence:
    """Raises ConfigurationError, with the line that can't be used."""
    head: Head | None = None
    searched: list[Searched] = []
    examples: list[Counterexample] = []
    exhausted: list[Exhausted] = []
    others: dict[Searchable, list[Searched]] = {}
    parts: list[PartLines] = []
    soon: list[Soon] = []
    for number, text in enumerate(file.read_bytes().splitlines(), start=1):
        try:
            line = msgspec.json.decode(text, type=_Line)
            head = line.head or head
            if line.cell is not None and line.cell.backend == "sim":
                searched.append(_searched(line.cell))
            elif line.cell is not None:
                others.setdefault(line.cell.backend, []).append(_searched(line.cell))
            if line.part is not None:
                parts.append(line.part)
            if line.soon is not None:
                soon.append(line.soon)
            if line.counterexample is not None:
                examples.append(_unpacked(line.counterexample))
            if line.exhausted is not None:
                exhausted.append(line.exhausted)
        except msgspec.DecodeError as error:
            raise ConfigurationError(f"{file}:{number}: {error}") from error
    if head is None:
        raise ConfigurationError(
            f"{file}: no line says how this was found; write it again by `make guarantees`"
        )
    return Evidence(head, searched, examples, exhausted, others, parts, soon)


def _cell(searched: Searched, backend: Searchable = "sim") -> _Cell:
    return _Cell(
        searched.strategy,
        searched.fault,
        searched.schedules,
        searched.faulty,
        [each.invariant for each in searched.findings if each.promised],
        {each.invariant: (each.broken, each.seed) for each in searched.findings if each.broken},
        backend,
    )


def _searched(cell: _Cell) -> Searched:
    findings = [Finding(each, each in cell.promised, *cell.broken.get(each, (0, None))) for each in Invariant]
    return Searched(cell.strategy, cell.fault, cell.schedules, cell.faulty, findings)


def _packed(example: Counterexample) -> _Example:
    given, plain = msgspec.to_builtins(example.scenario), msgspec.to_builtins(Scenario())
    changed = {name: value for name, value in given.items() if value != plain[name]}
    return _Example(example.invariant, changed, example.seed, example.faults, example.picks)


def _unpacked(packed: _Example) -> Counterexample:
    scenario = msgspec.convert(packed.scenario, Scenario)
    return Counterexample(packed.invariant, scenario, packed.seed, packed.faults, packed.picks)
