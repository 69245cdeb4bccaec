"""A counter-example told: what it is made of, what happens, and which invariant breaks by it."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Final

import msgspec

from kon.backends.sim.faults import Fired
from kon.backends.sim.trace import CLIENT, Step, Trace, What, story, worker_of
from kon.core.errors import counted
from kon.trials.prove.playing import Counterexample
from kon.trials.prove.scenario import MEANING, Break, Invariant, MakeStrategy, Played

WIDTH: Final = 100

BROKEN: Final = "BROKEN"
"""The event that the watch notes."""


def tell(
    example: Counterexample,
    others: Sequence[Invariant] = (),
    make_strategy: MakeStrategy | None = None,
    width: int = WIDTH,
) -> str | None:
    """The story of a counter-example, up to the break; None when it does not break any more.

    others: invariants that break in the same schedule, and are named as well.
    """
    trace = Trace()
    played = example.replay(trace, make_strategy)
    if example.break_in(played) is None:
        return None
    breaks = first_breaks(played, {example.invariant, *others})
    told = Trace()
    told.steps = _of_interest(trace.steps, breaks)
    tasks = {broke.task for broke in breaks if broke.task is not None}
    about = None if len(tasks) < len({broke.task for broke in breaks}) else tasks
    parts = [
        _wrapped(heading(example), width),
        story(told, _workers(told.steps, about), about, width).rstrip(),
        "\n".join(_wrapped(ending(broke), width) for broke in breaks),
    ]
    return "\n\n".join(parts) + "\n"


def first_breaks(played: Played, invariants: Collection[Invariant]) -> list[Break]:
    """The first break of each of these that broke, in the order in which they did."""
    first: dict[Invariant, Break] = {}
    for broke in played.breaks:
        if broke.invariant in invariants:
            first.setdefault(broke.invariant, broke)
    return list(first.values())


def heading(example: Counterexample) -> str:
    """What it takes."""
    scenario = example.scenario
    tasks, workers = counted(scenario.tasks, "task"), counted(scenario.workers, "worker")
    return f"{example.strategy.label}: {tasks}, {workers}, {faults_in_words(example.faults)}."


def faults_in_words(faults: Sequence[Fired]) -> str:
    if not faults:
        return "no fault"
    counts = Counter(fired.fault for fired in faults)
    named = ", ".join(f"{fault} {count} times" if count > 1 else fault for fault, count in counts.items())
    return f"{'1 fault' if len(faults) == 1 else f'{len(faults)} faults'} ({named})"


def ending(broke: Break) -> str:
    """Which invariant breaks, and why."""
    task = "" if broke.task is None else f" for task {broke.task}"
    return (
        f'At {broke.at_s:.3f} s "{broke.invariant}" is broken{task}: {broke.how}. '
        f"{broke.invariant.capitalize()} means that {MEANING[broke.invariant]}."
    )


def _wrapped(text: str, width: int) -> str:
    return "\n".join(textwrap.wrap(text, width))


def _of_interest(steps: Sequence[Step], breaks: Sequence[Break]) -> list[Step]:
    """Up to the last of the breaks, without what goes as it always does, and without other breaks. Repeats of
    a call that gets no reply are told once."""
    told = []
    left = {(broke.at_s, f"{broke.invariant}: {broke.how}"): broke for broke in breaks}
    said: set[Step] = set()
    cut_off: set[tuple[str, str, str]] = set()
    for step in steps:
        if step.op != BROKEN:
            call = (step.host, step.service, step.op)
            again = msgspec.structs.replace(step, at_s=0.0)
            if not _is_routine(step) and not (call in cut_off and again in said):
                told.append(step)
            said.add(again)
            if step.what is What.FAULT and step.note.endswith("is lost"):
                cut_off.add(call)
        elif (broke := left.pop((step.at_s, step.note), None)) is not None:
            told.append(Step(step.at_s, step.what, step.host or CLIENT, "", f"{BROKEN}: {broke.invariant}"))
            if not left:
                break
    return told


def _is_routine(step: Step) -> bool:
    if step.op == "extend" and step.what is What.EFFECT:
        return step.note != "refused"
    # the answers' way to the client, once they are sent
    if step.service == "answers" and step.what is What.EFFECT:
        return step.op == "ack"
    # a call about no task in particular, other than the client's look at what is left
    return bool(step.service) and not step.tasks and step.op != "depth"


def _workers(steps: Sequence[Step], tasks: Collection[int] | None) -> tuple[str, str] | None:
    """The two workers that have most to do with these tasks, those that start them first of all, by name."""
    weights: Counter[str] = Counter()
    for step in steps:
        about = tasks is None or not set(tasks).isdisjoint(step.tasks)
        if about and step.host and worker_of(step.host) != CLIENT:
            weights[worker_of(step.host)] += 1_000 if step.what is What.HOST else 1
    named = sorted(weights, key=lambda name: (-weights[name], name))[:2]
    left, right = [*sorted(named), "", ""][:2]
    return (left, right) if left else None
