"""A counter-example told: what it is made of, what happens, and which invariant breaks by it."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence
from typing import Final

from kon.prove.counterexample import Counterexample
from kon.prove.invariants import MEANING, Break
from kon.prove.scenario import MakeStrategy
from kon.sim.faults import Fired
from kon.sim.story import CLIENT, story, worker_of
from kon.sim.trace import Step, Trace, What

WIDTH: Final = 100

BROKEN: Final = "BROKEN"
"""The event that the watch notes."""


def tell(
    example: Counterexample, make_strategy: MakeStrategy | None = None, width: int = WIDTH
) -> str | None:
    """The story of a counter-example, up to the break; None when it does not break any more."""
    trace = Trace()
    broke = example.break_in(example.replay(trace, make_strategy))
    if broke is None:
        return None
    told = Trace()
    told.steps = _of_interest(trace.steps, broke)
    tasks = None if broke.task is None else [broke.task]
    line = story(told, _workers(told.steps, broke), tasks, width)
    return f"{_wrapped(heading(example), width)}\n\n{line}\n{_wrapped(ending(broke), width)}\n"


def heading(example: Counterexample) -> str:
    """What it takes."""
    scenario = example.scenario
    tasks = "1 task" if scenario.tasks == 1 else f"{scenario.tasks} tasks"
    workers = "1 worker" if scenario.workers == 1 else f"{scenario.workers} workers"
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


def _of_interest(steps: Sequence[Step], broke: Break) -> list[Step]:
    """Up to the break. What goes as it always does is left out, and so is what else may be broken."""
    told = []
    for step in steps:
        if step.op == BROKEN:
            if step.at_s == broke.at_s and step.note == f"{broke.invariant}: {broke.how}":
                told.append(
                    Step(step.at_s, step.what, step.host or CLIENT, "", f"{BROKEN}: {broke.invariant}")
                )
                break
        elif not _is_routine(step):
            told.append(step)
    return told


def _is_routine(step: Step) -> bool:
    if step.op == "extend" and step.what is What.EFFECT:
        return step.note != "refused"
    # the answers' way to the client, once they are sent
    if step.service == "answers" and step.what is What.EFFECT:
        return step.op == "ack"
    # a call about no task in particular, other than the client's look at what is left
    return bool(step.service) and not step.tasks and step.op != "depth"


def _workers(steps: Sequence[Step], broke: Break) -> tuple[str, str] | None:
    """The two workers that have most to do with the task, in the order of their numbers."""
    about = [
        worker_of(step.host)
        for step in steps
        if step.host.startswith("w") and (broke.task is None or broke.task in step.tasks)
    ]
    named = sorted(set(about), key=lambda name: (-about.count(name), name))[:2]
    left, right = [*sorted(named), "", ""][:2]
    return (left, right) if left else None
