"""Backends, strategies and kinds of an experiment: are they there, and do they take these options?

Options are held to what the plug-in declares. Then it is made, as a worker would make it, so that its own
checks speak before anything runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from kon.backends.memory.backend import MemoryLedger
from kon.core.backend import Backend, RequestCount
from kon.core.clock import Clock
from kon.core.errors import ConfigurationError, UnknownPlugin, did_you_mean
from kon.core.kind import Kind
from kon.core.options import OptionError, Path, Struct, needed, option_errors
from kon.core.plugins import backend_class, kind_class, strategy_class, takes
from kon.core.spec import Plugin
from kon.core.strategy import Strategy, strategy_options
from kon.experiment.model import SHORTEST_HOLD_S, ExperimentForm, WorkloadForm
from kon.experiment.yamltree import Node, Place, Problem, find, key_place

_Class = TypeVar("_Class")
_Made = TypeVar("_Made", Backend, Kind, Strategy)


def check_backend(plugin: Plugin, node: Node, problems: list[Problem]) -> Backend | None:
    """The backend, made but not opened, or None where something is wrong with it."""
    cls = _found(backend_class, plugin.name, find(node, ("backend", "name")).place, problems)
    if cls is None:
        return None
    # the folder of the runs is named when there are some; any will do here, for nothing is opened
    given = {**({"path": "."} if cls.keeps_files else {}), **plugin.options}
    return _Checker(f"backend {plugin.name}", node, ("backend",), problems).made(takes(cls), given, cls)


def check_kind(plugin: Plugin, node: Node, problems: list[Problem]) -> Kind | None:
    """The kind itself, made with its options, or None where something is wrong with it."""
    cls = _found(kind_class, plugin.name, find(node, ("workload", "kind")).place, problems)
    if cls is None:
        return None
    checker = _Checker(f"kind {plugin.name}", node, ("workload",), problems, _better_place)
    return checker.made(takes(cls), plugin.options, cls)


def check_strategy(plugin: Plugin, node: Node, path: Path, problems: list[Problem]) -> dict[str, Any] | None:
    """All options of the strategy with the values that they will have, or None where something is wrong."""
    cls = _found(strategy_class, plugin.name, find(node, (*path, "name")).place, problems)
    if cls is None:
        return None

    def make(options: dict[str, Any]) -> Strategy:
        made = cls(MemoryLedger(RequestCount()), "check", Clock(0.0), **options)
        if made.lease_s is not None and not made.lease_s >= SHORTEST_HOLD_S:
            raise OptionError(
                f'the lease of the strategy "{plugin.name}" is {made.lease_s:g} s, shorter than the '
                f"heartbeat allows, which renews it every third of it: expected at least {SHORTEST_HOLD_S} s",
                "lease_s",
            )
        return made

    checker = _Checker(f"strategy {plugin.name}", node, path, problems, at_value=True)
    made = checker.made(takes(cls), plugin.options, make)
    return None if made is None else {**strategy_options(cls), **plugin.options}


def _found(
    find_class: Callable[[str], type[_Class]], name: str, place: Place, problems: list[Problem]
) -> type[_Class] | None:
    try:
        return find_class(name)
    except UnknownPlugin as error:
        problems.append(Problem(place, str(error), UnknownPlugin))
        return None


def _better_place(error: OptionError) -> str:
    """What else an unknown option of a kind may have been meant for, that the kind can't know of."""
    name = str(error.path[0])
    if not error.unknown or "did you mean" in str(error):
        return ""
    if name in ExperimentForm.model_fields:
        return f'; "{name}" stands next to "workload", not in it'
    return did_you_mean(name, WorkloadForm.model_fields)


class _Checker:
    """Makes one plug-in whose mapping stands at a path; what is wrong goes to `problems`."""

    def __init__(
        self,
        what: str,
        node: Node,
        path: Path,
        problems: list[Problem],
        hint: Callable[[OptionError], str] = lambda error: "",
        at_value: bool = False,
    ) -> None:
        """hint: adds to an error. at_value: a mistyped value is reported where it stands, not at its key."""
        self._what = what
        self._node = node
        self._path = path
        self._problems = problems
        self._hint = hint
        self._at_value = at_value

    def made(
        self,
        declared: Struct | None,
        options: dict[str, Any],
        make: Callable[[dict[str, Any]], _Made],
    ) -> _Made | None:
        """The plug-in. Options that it does not take are reported, and left out to check the rest."""
        usable = dict(options)
        wrong = list(option_errors(self._what, options, declared)) if declared is not None else []
        for error in wrong:
            self._add(error, at_value=self._at_value and not error.unknown)
            usable.pop(str(error.path[0]), None)
        if declared is not None and not needed(declared) <= usable.keys():
            return None
        try:
            made = make(usable)
        except ConfigurationError as error:
            self._add(error)
            return None
        except Exception as error:  # a plug-in's own code
            text = f"the {self._what} can't be made with these options: {type(error).__name__}: {error}"
            self._problems.append(Problem(find(self._node, self._path).place, text))
            return None
        return None if wrong else made

    def _add(self, error: ConfigurationError, at_value: bool = False) -> None:
        path, hint = self._path, ""
        if isinstance(error, OptionError):
            path, hint = (*self._path, *error.path), self._hint(error)
        whole = at_value or path == self._path
        place = find(self._node, path).place if whole else key_place(self._node, path)
        self._problems.extend(Problem(place, line + hint) for line in str(error).split("\n"))
