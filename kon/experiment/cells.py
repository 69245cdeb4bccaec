"""From an experiment to its runs: one for each strategy, number of workers and repeat."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from kon.core.plugins import backend_class, strategy_class
from kon.core.spec import Faults, Plugin, RunSpec
from kon.core.strategy import strategy_options
from kon.engine.layout import MAX_ROWS
from kon.experiment.model import Auto, ExperimentForm
from kon.experiment.workload import Workload

MAX_RUN_ID: Final = 60
"""Characters of a run's id: the name of an SQS queue has at most 80, with what is put around the id."""

_NOT_IN_ID: Final = re.compile(r"[^A-Za-z0-9_]+")


class Cell(msgspec.Struct, frozen=True):
    """One run, and the tasks that it is about."""

    spec: RunSpec
    workload: Workload


class Experiment:
    """One experiment, checked through and through; nothing of it has been run."""

    def __init__(self, form: ExperimentForm, workload: Workload) -> None:
        self.form = form
        self.workload = workload

    @property
    def name(self) -> str:
        return self.form.name

    @property
    def backend(self) -> Plugin:
        return self.form.backend.plugin

    @property
    def strategies(self) -> list[Plugin]:
        return [each.plugin for each in self.form.strategies]

    def cells(self) -> list[Cell]:
        """The runs, in the order in which they are to be made. The same experiment has the same runs.

        Raises WorkloadError when a workload file has changed since it was checked.
        """
        return [
            Cell(
                self._spec(run_id(f"{self.name}-{label}", workers, repeat), strategy, workers, repeat),
                self.workload,
            )
            for strategy, label in zip(self.strategies, strategy_labels(self.strategies), strict=True)
            for workers in self.form.workers
            for repeat in range(1, self.form.repeats + 1)
        ]

    def _spec(self, run: str, strategy: Plugin, workers: int, repeat: int) -> RunSpec:
        form, workload = self.form, self.workload
        return RunSpec(
            run=run,
            experiment=form.name,
            backend=self.backend,
            strategy=strategy,
            kind=workload.kind,
            tasks=workload.count(workers),
            workers=workers,
            processes=form.processes,
            slots=form.slots,
            prefetch=given(form.prefetch),
            bundle=given(form.bundle),
            tasks_per_row=tasks_per_row_for(form.tasks_per_row, form.bundle, self.backend),
            repeat=repeat,
            visibility_s=form.visibility_s,
            attempts=form.attempts,
            max_receives=form.max_receives,
            timeout_s=form.timeout_s,
            backoff_s=form.backoff_s,
            flush_s=form.flush_s,
            idle_s=form.idle_s,
            drain_s=form.drain_s,
            workload_digest=workload.digest(workers),
            ideal_s=workload.ideal_s(workers),
            faults=Faults(form.faults.duplicate_rate, form.faults.kill_workers),
            seed=form.seed,
        )


def given(setting: int | Auto | None) -> int | None:
    """A setting's value in a spec; None where kon finds it."""
    return None if setting == "auto" else setting


def tasks_per_row_for(
    tasks_per_row: int | Auto | None, bundle: int | Auto | None, backend: Plugin
) -> int | None:
    """The tasks of a message share a row where rows cost; other tasks go to other workers, which would only
    wait for each other."""
    if isinstance(tasks_per_row, int):
        return tasks_per_row
    if not backend_class(backend.name).rows_cost:
        return 1
    return min(bundle, MAX_ROWS) if isinstance(bundle, int) else None


def strategy_labels(strategies: Sequence[Plugin]) -> list[str]:
    """A short word for each, fit for a file's name: the strategy's name, and where it stands there more
    than once the values that set it apart."""
    variants: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    resolved = [{**strategy_options(strategy_class(each.name)), **each.options} for each in strategies]
    for strategy, options in zip(strategies, resolved, strict=True):
        variants[strategy.name].append(options)
    labels: list[str] = []
    for strategy, options in zip(strategies, resolved, strict=True):
        twins = variants[strategy.name]
        apart = [key for key in options if any(twin.get(key) != options[key] for twin in twins)]
        words = [strategy.name, *(str(options[key]) for key in apart)]
        labels.append(_unlike("-".join(_word(word) for word in words), labels))
    return labels


def run_id(stem: str, workers: int, repeat: int) -> str:
    """A run's name: for people, and as it is for files, queues and prefixes of objects."""
    tail = f"-w{workers}-r{repeat}"
    room = MAX_RUN_ID - len(tail)
    if len(stem) > room:
        stem = f"{stem[: room - 9]}-{hashlib.sha256(stem.encode()).hexdigest()[:8]}"
    return stem + tail


def _word(text: str) -> str:
    return _NOT_IN_ID.sub("-", text).strip("-") or "x"


def _unlike(label: str, others: Sequence[str]) -> str:
    taken = {other.casefold() for other in others}  # some file systems take capitals for small letters
    numbered = (f"{label}-{number}" for number in itertools.count(2))
    return next(each for each in itertools.chain([label], numbered) if each.casefold() not in taken)
