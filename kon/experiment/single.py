"""A run that no file describes, for `kon map` and for programs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from kon.core.errors import ConfigurationError, describe
from kon.core.spec import Plugin
from kon.experiment.cells import MAX_RUN_ID, Cell, Experiment
from kon.experiment.check import check_form, read_form
from kon.experiment.checkplugins import check_kind
from kon.experiment.models import simulates
from kon.experiment.workload import Items, Workload
from kon.experiment.yamltree import Problem, of_plain, raise_problems

_RUN_ID: Final = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_-]{{0,{MAX_RUN_ID - 1}}}")


def single(
    kind: str,
    options: Mapping[str, Any],
    bodies: Sequence[Any],
    *,
    run: str | None = None,
    name: str = "map",
    strategy: str | Mapping[str, Any] = "lease",
    workers: int = 1,
    caller: str = "kon",
    **settings: Any,
) -> Cell:
    """One run of one kind with these options, a task for each body; checked as an experiment file is.

    bodies: are read more than once, so that an iterator is refused (see kon.api.stored).
    run: its id; by default it is made from `name`, as for an experiment.
    caller: what errors start with.
    settings: other keys of an experiment file, such as slots=4 or backend="memory".
    Raises ConfigurationError, which lists all that is wrong, WorkloadError for bodies.
    """
    if isinstance(bodies, str | bytes) or not isinstance(bodies, Sequence):
        raise ConfigurationError(f"{caller}: expected a list of tasks, found {describe(bodies)}")
    if run is not None and not _RUN_ID.fullmatch(run):
        raise ConfigurationError(
            f"{caller}: run: expected at most {MAX_RUN_ID} letters, digits, - and _, with a letter or digit "
            f"first, found {describe(run)}"
        )
    given = {"name": name, "strategies": [strategy], "workers": [workers], **settings}
    node = of_plain({**given, "workload": {"kind": kind}}, caller)
    with_options = of_plain({**given, "workload": {"kind": kind, **options}}, caller)
    plugin = Plugin(kind, dict(options))
    problems: list[Problem] = []
    checked = read_form(node, problems)
    assert checked is not None  # it is a mapping
    form, wrong = checked
    check_form(form, wrong, node, problems)
    if simulates(node):
        text = "simulates, and does none of the work that is asked for; an experiment file may name it"
        problems.append(Problem(node.place, f'the backend "{form.backend.name}" {text}'))
    checker = check_kind(plugin, with_options, problems)
    raise_problems(problems)
    assert checker is not None  # or there was a problem
    [cell] = Experiment(form, Workload(plugin, checker, Items(bodies, "items"))).cells()
    return cell if run is None else Cell(msgspec.structs.replace(cell.spec, run=run), cell.workload)
