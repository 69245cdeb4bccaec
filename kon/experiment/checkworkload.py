"""From what stands under `workload:` to a `Workload`."""

from __future__ import annotations

import re
from collections.abc import Callable, Set
from pathlib import Path
from typing import Any, Final

from kon.core.errors import ConfigurationError, UnknownPlugin, WorkloadError, did_you_mean
from kon.core.plugins import kind_class
from kon.core.spec import Plugin
from kon.experiment.checkplugins import check_kind
from kon.experiment.complaints import key_place
from kon.experiment.distributions import FORMS, parse_distribution
from kon.experiment.forms import Form, form_of
from kon.experiment.model import MAX_TASKS, WorkloadForm
from kon.experiment.problems import Place, Problem, describe
from kon.experiment.sources import (
    Bad,
    Durations,
    Integers,
    Items,
    Lines,
    Numbers,
    Source,
    matching_files,
)
from kon.experiment.workload import Workload
from kon.experiment.yamltree import Node, find, plain

SOURCES: Final = ("count", "items", "file", "glob", "range")

MAKES_UP: Final = {"sleep": ("seconds",), "stats": ("length", "between")}
"""What a kind's made-up tasks (`count`) are made from: keys beside `count`, not options of the kind."""

DEFAULT_LENGTH: Final = 100
DEFAULT_BETWEEN: Final = (0, 1000)
"""Of the lists that `stats` is given."""


def read_workload(
    form: WorkloadForm,
    unusable: Set[str],
    node: Node,
    folder: Path,
    seed: int,
    limit: int | None,
    problems: list[Problem],
) -> Workload | None:
    """The workload of one experiment, every task of it checked; None where something is wrong with it.

    unusable: keys that are there, but not in the form; node: the whole experiment; folder: where the
    experiment file is.
    """
    if "kind" in unusable:
        return None
    return _Reader(form, unusable, node, folder, problems).read(seed, limit)


def _own_name(kind: str) -> str:
    """The name that the kind's class bears, which for module:Class is not the one that it was found by."""
    try:
        return kind_class(kind).name
    except UnknownPlugin:  # said when the kind is made
        return kind


def _tried(make: Callable[[Any], Any], given: Any) -> Any:
    try:
        return make(given)
    except ConfigurationError as error:
        return Bad(str(error))


class _Reader:
    def __init__(
        self, form: WorkloadForm, unusable: Set[str], node: Node, folder: Path, problems: list[Problem]
    ) -> None:
        self._form = form
        self._unusable = unusable
        self._node = node
        self._folder = folder
        self._problems = problems
        self._options = form.options
        self._made_from: dict[str, Any] = {}
        self._before = len(problems)

    def read(self, seed: int, limit: int | None) -> Workload | None:
        source_key = self._source_key()
        name = self._form.kind or ("sleep" if source_key == "file" or "file" in self._unusable else None)
        if name is None:
            self._add(self._place(), 'missing key "kind"')
            return None
        if "slots" in self._options:  # the worker sets it, so that a kind would take it
            self._add(self._key_place("slots"), 'unknown key "slots"; it stands beside "workload", not in it')
            del self._options["slots"]
        self._set_apart(_own_name(name))
        checker = check_kind(Plugin(name, self._options), self._node, self._problems)
        if checker is None or source_key is None:
            return None
        source = self._source(source_key, checker.name, seed)
        if source is None or len(self._problems) > self._before:
            return None
        workload = Workload(Plugin(name, self._options), checker, source, self._form.per == "worker", limit)
        return workload if self._first_pass(workload, source, source_key) else None

    def _source_key(self) -> str | None:
        given = [key for key in SOURCES if getattr(self._form, key) is not None]
        if not given and self._unusable.isdisjoint(SOURCES):
            self._add(self._place(), f"missing the source of the tasks: expected one of {', '.join(SOURCES)}")
        for key in given[1:]:
            self._add(
                self._key_place(key), f'"{given[0]}" says already where the tasks come from; leave out one'
            )
        return given[0] if given else None

    def _set_apart(self, kind: str) -> None:
        for key in MAKES_UP.get(kind, ()):
            if key in self._options:
                self._made_from[key] = self._options.pop(key)
                if (
                    self._form.count is None
                    and "count" not in self._unusable
                    and any(getattr(self._form, each) is not None for each in SOURCES)
                ):
                    self._add(
                        self._key_place(key), f'"{key}" is for tasks that are made up; it goes with "count"'
                    )

    def _source(self, key: str, kind: str, seed: int) -> Source | None:
        form = form_of(kind)
        match key:
            case "count":
                return self._made_up(kind, form, seed)
            case "items":
                items = plain(find(self._node, ("workload", "items")), as_text=kind == "shell")
                return Items(
                    [_tried(form.of_item, item) for item in items], "workload.items", self._item_place
                )
            case "file":
                return self._lines(form)
            case "glob":
                return self._files(form)
            case _:
                return self._numbers(form)

    def _made_up(self, kind: str, form: Form, seed: int) -> Source | None:
        count = self._form.count
        assert count is not None
        if kind == "sleep":
            if "seconds" not in self._made_from:
                self._add(self._place(), f'missing key "seconds": {FORMS}')
                return None
            try:
                return Durations(count, parse_distribution(self._made_from["seconds"]), seed)
            except ConfigurationError as error:
                self._add(self._place("seconds"), str(error))
                return None
        if kind == "stats":
            return self._integers(count, seed)
        return Numbers(range(count), form.of_count)

    def _integers(self, count: int, seed: int) -> Source | None:
        length = self._made_from.get("length", DEFAULT_LENGTH)
        between = self._made_from.get("between", list(DEFAULT_BETWEEN))
        if not (type(length) is int and 1 <= length <= 1_000_000):
            self._add(
                self._place("length"), f"expected a whole number from 1 to 1000000, found {describe(length)}"
            )
            return None
        match between:
            case [int(low), int(high)] if -(2**52) <= low <= high <= 2**52 and bool not in map(type, between):
                return Integers(count, length, low, high, seed)
        self._add(
            self._place("between"),
            f"expected [low, high], whole numbers up to 2**52, found {describe(between)}",
        )
        return None

    def _lines(self, form: Form) -> Source | None:
        assert self._form.file is not None
        path = self._folder / self._form.file
        try:
            missing = not path.exists()
            beside = [each.name for each in path.parent.iterdir()] if missing and path.parent.is_dir() else []
        except (OSError, ValueError) as error:
            self._add_workload("file", f"the workload file {describe(str(path))} can't be read: {error}")
            return None
        if missing:
            self._add_workload("file", f"there is no workload file {path}{did_you_mean(path.name, beside)}")
            return None
        return Lines(path, form)

    def _files(self, form: Form) -> Source | None:
        assert self._form.glob is not None
        try:
            found = matching_files(self._form.glob, self._folder)
        except (WorkloadError, OSError, ValueError) as error:
            self._add_workload("glob", str(error))
            return None
        return Items(
            [_tried(form.of_path, path) for path in found], "workload.glob", lambda number: found[number]
        )

    def _numbers(self, form: Form) -> Source | None:
        given = self._form.range
        assert given is not None
        if 0 in given[2:]:
            self._add(self._place("range"), "expected a step other than 0")
            return None
        numbers = range(*given)
        if not numbers or len(numbers) > MAX_TASKS:
            holds = "no number" if not numbers else f"more than {MAX_TASKS} numbers"
            self._add(
                self._place("range"),
                f"the range from {given[0]} up to, not including, {given[1]} holds {holds}",
            )
            return None
        return Numbers(numbers, form.of_number)

    def _first_pass(self, workload: Workload, source: Source, key: str) -> bool:
        try:
            workload.count(1)
        except WorkloadError as error:
            for line in str(error).split("\n"):
                placed = isinstance(source, Items) or re.match(rf"{re.escape(source.name)}:\d+:", line)
                self._add_workload(key, line, elsewhere=bool(placed))
            return False
        return True

    def _item_place(self, number: int) -> str:
        return str(find(self._node, ("workload", "items", number)).place)

    def _place(self, *steps: str) -> Place:
        return find(self._node, ("workload", *steps)).place

    def _key_place(self, key: str) -> Place:
        return key_place(self._node, ("workload", key))

    def _add(self, place: Place, text: str) -> None:
        self._problems.append(Problem(place, text))

    def _add_workload(self, key: str, text: str, elsewhere: bool = False) -> None:
        self._problems.append(Problem(self._place(key), text, WorkloadError, elsewhere))
