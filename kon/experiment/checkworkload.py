"""From what stands under `workload:` to a `Workload`."""

from __future__ import annotations

import re
from collections.abc import Callable, Set
from pathlib import Path
from typing import Any, Final

from kon.core.errors import ConfigurationError, UnknownPlugin, WorkloadError, describe, did_you_mean
from kon.core.kind import Kind, each_number
from kon.core.options import OptionError, expected_of, misfits
from kon.core.plugins import kind_class
from kon.core.spec import Plugin
from kon.core.task import MAX_TASKS
from kon.experiment.checkplugins import check_kind
from kon.experiment.model import KIND_OF_FILES, WorkloadForm
from kon.experiment.workload import (
    Bad,
    Items,
    Lines,
    MadeBodies,
    Source,
    Workload,
    matching_files,
)
from kon.experiment.yamltree import Node, Place, Problem, find, key_place, plain

SOURCES: Final = ("count", "items", "file", "glob", "range")


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
        of_a_file = source_key == "file" or "file" in self._unusable
        name = self._form.kind or (KIND_OF_FILES if of_a_file else None)
        if name is None:
            self._add(self._place(), 'missing key "kind"')
            return None
        if "slots" in self._options:  # the worker sets it, so that a kind would take it
            self._add(
                self._key_place("slots"), 'unknown key "slots"; it stands next to "workload", not in it'
            )
            del self._options["slots"]
        self._set_apart(name)
        kind = check_kind(Plugin(name, self._options), self._node, self._problems)
        if kind is None or source_key is None:
            return None
        source = self._source(source_key, kind, seed)
        if source is None or len(self._problems) > self._before:
            return None
        workload = Workload(Plugin(name, self._options), kind, source, self._form.per == "worker", limit)
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
        """Take the keys next to `count` out of the kind's options."""
        try:
            made_from = kind_class(kind).made_from
        except UnknownPlugin:  # reported when the kind is made
            return
        elsewhere = (
            self._form.count is None
            and "count" not in self._unusable
            and any(getattr(self._form, each) is not None for each in SOURCES)
        )
        for key in made_from.__struct_encode_fields__ if made_from is not None else ():
            if key in self._options:
                self._made_from[key] = self._options.pop(key)
                if elsewhere:
                    text = f'"{key}" is for tasks that are made up; it goes with "count"'
                    self._add(self._key_place(key), text)

    def _source(self, key: str, kind: Kind, seed: int) -> Source | None:
        match key:
            case "count":
                return self._made_up(kind, seed)
            case "items":
                items = plain(find(self._node, ("workload", "items")), as_text=kind.items_as_text)
                return Items(
                    [_tried(kind.body_of_item, item) for item in items], "workload.items", self._item_place
                )
            case "file":
                return self._lines(kind)
            case "glob":
                return self._files(kind)
            case _:
                return self._range(kind)

    def _made_up(self, kind: Kind, seed: int) -> Source | None:
        count = self._form.count
        assert count is not None
        if kind.made_from is not None and (wrong := misfits(self._made_from, kind.made_from)):
            for each in wrong:
                says = f": {expected_of(kind.made_from, each.lacks)}" if each.lacks else ""
                self._add(self._place(*map(str, each.path)), each.text + says)
            return None
        try:
            made = kind.make_up(count, self._made_from, seed)
        except OptionError as error:
            self._add(self._place(*map(str, error.path)), str(error))
            return None
        return MadeBodies(made, "the made-up tasks", range(count), "task")

    def _lines(self, kind: Kind) -> Source | None:
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
        return Lines(path, kind)

    def _files(self, kind: Kind) -> Source | None:
        assert self._form.glob is not None
        try:
            found = matching_files(self._form.glob, self._folder)
        except (WorkloadError, OSError, ValueError) as error:
            self._add_workload("glob", str(error))
            return None
        return Items(
            [_tried(kind.body_of_path, path) for path in found], "workload.glob", lambda number: found[number]
        )

    def _range(self, kind: Kind) -> Source | None:
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
        name = f"the range from {numbers.start} to {numbers.stop}"
        return MadeBodies(each_number(numbers, kind.body_of_number), name, numbers, "number")

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
