"""From the nodes of a document to an `Experiment`: everything that can be checked before a run is.

One mistake does not hide another: what is wrong with one key is noted, and the others are checked
as if it had been left out.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Collection, Iterable
from pathlib import Path as FilePath
from typing import Annotated, Any, Final

from pydantic import BaseModel, ValidationError

from kon.core.backend import Backend
from kon.core.errors import ConfigurationError, describe
from kon.core.options import Path, unknown
from kon.core.plugins import strategy_class
from kon.core.strategy import check_queue
from kon.experiment.cells import Experiment
from kon.experiment.checkplugins import check_backend, check_strategy
from kon.experiment.checkworkload import read_workload
from kon.experiment.model import Expected, ExperimentForm
from kon.experiment.models import check_durations, with_model
from kon.experiment.yamltree import Mapping, Node, Problem, Sequence, find, key_place, plain

_STAND_IN: dict[str, Any] = {"name": "x", "workload": {"kind": "x"}}
"""For the keys that have no default, when what stands there can't be used."""


def read_experiment(
    node: Node, folder: FilePath, limit: int | None, problems: list[Problem]
) -> Experiment | None:
    """The experiment of one document; None where something is wrong with it, which goes to `problems`.

    folder: what the paths of workload files are relative to; limit: most tasks of a run.
    """
    before = len(problems)
    node = with_model(node, folder, problems)
    checked = read_form(node, problems)
    if checked is None:
        return None
    form, wrong = checked
    workload = None
    if ("workload",) not in wrong:
        unusable = {str(path[1]) for path in wrong if path[0] == "workload"}
        workload = read_workload(form.workload, unusable, node, folder, form.seed, limit, problems)
    check_form(form, wrong, node, problems)
    if workload is None or len(problems) > before:
        return None
    check_durations(form, workload, node, problems)
    if len(problems) > before:
        return None
    return Experiment(form, workload)


def read_form(node: Node, problems: list[Problem]) -> tuple[ExperimentForm, set[Path]] | None:
    """The form, and the places whose values can't be used and that it has something else for."""
    if not isinstance(node, Mapping):
        found = describe(plain(node))
        problems.append(
            Problem(
                node.place,
                f"expected an experiment, a mapping with at least name and workload, found {found}",
            )
        )
        return None
    given = plain(node)
    try:
        return ExperimentForm.model_validate(given), set()
    except ValidationError as error:
        problems.extend(complaints(error, ExperimentForm, node))
        wrong = {_leave_out(given, each["loc"]) for each in error.errors()}
    return ExperimentForm.model_validate(given), wrong


def _leave_out(given: dict[str, Any], path: Path) -> Path:
    """Take out the least that makes the rest usable; returns where that was."""
    key, *below = path
    inside = given.get(str(key))
    if key == "workload" and below and isinstance(inside, dict):
        inside.pop(str(below[0]), None)
        return path[:2]
    if key == "strategies" and below and isinstance(inside, list):
        inside[int(below[0])] = "none"
        return path[:2]
    given.pop(str(key), None)
    if key in _STAND_IN:
        given[str(key)] = _STAND_IN[str(key)]
    return path[:1]


def check_form(form: ExperimentForm, wrong: Collection[Path], node: Node, problems: list[Problem]) -> None:
    """Check the plug-ins, and what must fit together, except for what is wrong already."""
    backend = None if ("backend",) in wrong else check_backend(form.backend.plugin, node, problems)
    can_kill = backend is None or backend.processes or backend.virtual_time
    if form.faults.kill_workers and not can_kill:
        problems.append(
            Problem(
                find(node, ("faults", "kill_workers")).place,
                f'kill_workers needs workers that are processes; with the backend "{form.backend.name}" they '
                "are not. Leave it out, as by --set faults.kill_workers=0, or choose another backend",
            )
        )
    if ("strategies",) not in wrong:
        _check_strategies(form, wrong, node, backend, problems)
    for number, workers in enumerate(form.workers):
        if workers in form.workers[:number]:
            place = find(node, ("workers", number)).place
            problems.append(Problem(place, f"{workers} stands here twice; to run it again use repeats"))


def _check_strategies(
    form: ExperimentForm,
    wrong: Collection[Path],
    node: Node,
    backend: Backend | None,
    problems: list[Problem],
) -> None:
    seen: list[tuple[str, dict[str, Any]]] = []
    for number, choice in enumerate(form.strategies):
        path: Path = ("strategies", number) if _is_list(node) else ("strategies",)
        options = None if path in wrong else check_strategy(choice.plugin, node, path, problems)
        if options is None:
            continue
        if backend is not None:
            try:
                check_queue(strategy_class(choice.name), backend.fifo)
            except ConfigurationError as error:
                problems.append(Problem(find(node, path).place, str(error)))
        if (choice.name, options) in seen:
            text = f'"{choice.name}" stands here twice with the same options; to run it again use repeats'
            problems.append(Problem(find(node, path).place, text))
        seen.append((choice.name, options))


def _is_list(node: Node) -> bool:
    return isinstance(plain(find(node, ("strategies",))), list)


_NULL_STRATEGY: Final = "; the strategy without de-duplication is written none"


def complaints(error: ValidationError, model: type[BaseModel], node: Node, at: Path = ()) -> list[Problem]:
    """One problem for each place. `node`: the document; `at`: where in it the model's mapping stands."""
    return [
        _complaint(each["type"], (*at, *each["loc"]), each["input"], model, node, len(at))
        for each in error.errors(include_url=False, include_context=False)
    ]


def _complaint(
    kind: str, path: Path, found: object, model: type[BaseModel], node: Node, skip: int
) -> Problem:
    if kind == "missing":
        return Problem(find(node, path[:-1]).place, f'missing key "{path[-1]}"')
    if kind == "extra_forbidden":
        known = _keys(model, path[skip:-1])
        return Problem(key_place(node, path), unknown(str(path[-1]), known))
    path = _existing(node, path)
    phrase = _expected(model, path[skip:])
    hint = _NULL_STRATEGY if path[0] == "strategies" and found is None else ""
    return Problem(
        find(node, path).place, f"expected {phrase}, found {describe(plain(find(node, path)))}{hint}"
    )


def _existing(node: Node, path: Path) -> Path:
    """The part of a path that the document has: a lone value stands for a list of one."""
    for end in range(len(path)):
        above, step = find(node, path[:end]), path[end]
        inside = (isinstance(above, Mapping) and step in above.entries) or isinstance(above, Sequence)
        if not inside:
            return path[:end]
    return path


def _keys(model: type[BaseModel], path: Path) -> list[str]:
    inner, _ = _walk(model, path)
    return list(inner.model_fields) if isinstance(inner, type) and issubclass(inner, BaseModel) else []


def _expected(model: type[BaseModel], path: Path) -> str:
    return _walk(model, path)[1]


def _walk(model: type[BaseModel], path: Path) -> tuple[Any, str]:
    """The type at a path, and what the nearest field on the way says is expected there."""
    here: Any = model
    phrase = "a mapping"
    for step in path:
        if isinstance(here, type) and issubclass(here, BaseModel) and step in here.model_fields:
            field = here.model_fields[str(step)]
            here, metadata = field.annotation, field.metadata
        else:
            inner = typing.get_args(here)
            here, metadata = (inner[0], []) if inner else (None, [])
        here, phrase = _bare(here, metadata, phrase)
    return here, phrase


def _bare(annotation: Any, metadata: Iterable[Any], phrase: str) -> tuple[Any, str]:
    """A type without `Annotated` and `| None`."""
    for each in metadata:
        if isinstance(each, Expected):
            phrase = each.phrase
    if typing.get_origin(annotation) is Annotated:
        inner, *more = typing.get_args(annotation)
        return _bare(inner, more, phrase)
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        given = next(each for each in typing.get_args(annotation) if each is not type(None))
        return _bare(given, [], phrase)
    return annotation, phrase
