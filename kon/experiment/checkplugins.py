"""Backends, strategies and kinds of an experiment: are they there, and do they take these options?

Each is made once, as a worker would make it, so that its own checks speak before anything runs.
"""

from __future__ import annotations

import inspect
import re
import typing
from typing import Any, Final, TypeVar

from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError

from kon.backends.memory.ledger import MemoryLedger
from kon.core.backend import Backend, RequestCount
from kon.core.clock import Clock
from kon.core.errors import ConfigurationError, UnknownPlugin, did_you_mean
from kon.core.kind import Kind
from kon.core.plugins import backend_class, kind_class, strategy_class
from kon.core.spec import Plugin
from kon.core.strategy import Strategy, strategy_options
from kon.experiment.complaints import Path, key_place, unknown_key
from kon.experiment.model import SHORTEST_HOLD_S, ExperimentForm, WorkloadForm
from kon.experiment.problems import Problem, describe
from kon.experiment.yamltree import Node, find

_Made = TypeVar("_Made", Backend, Kind)

_UNKNOWN_OPTION: Final = re.compile(r'(?:unknown option|no option) "([^"]*)"')
"""How kon's own backends and kinds refuse an option."""


def check_backend(plugin: Plugin, node: Node, problems: list[Problem]) -> Backend | None:
    """The backend, made but not opened, or None where something is wrong with it."""
    try:
        cls = backend_class(plugin.name)
    except UnknownPlugin as error:
        problems.append(_unknown(node, ("backend",), error))
        return None
    # the folder of the runs is named when there are some; any will do here, for nothing is opened
    place = {"path": "."} if cls.keeps_files else {}
    given = Plugin(plugin.name, {**place, **plugin.options})
    return _make(cls, given, "backend", node, ("backend",), problems)


def check_kind(plugin: Plugin, node: Node, problems: list[Problem]) -> Kind | None:
    """The kind itself, made with its options, or None where something is wrong with it."""
    try:
        cls = kind_class(plugin.name)
    except UnknownPlugin as error:
        place = find(node, ("workload", "kind")).place
        problems.append(Problem(place, str(error), UnknownPlugin))
        return None
    return _make(cls, plugin, "kind", node, ("workload",), problems)


def check_strategy(plugin: Plugin, node: Node, path: Path, problems: list[Problem]) -> dict[str, Any] | None:
    """All options of the strategy with the values that they will have, or None where something is wrong."""
    try:
        cls = strategy_class(plugin.name)
    except UnknownPlugin as error:
        problems.append(_unknown(node, path, error))
        return None
    wrong = _strategy_options(cls, plugin, node, path) or _strategy_itself(cls, plugin, node, path)
    problems.extend(wrong)
    return None if wrong else {**strategy_options(cls), **plugin.options}


def _unknown(node: Node, path: Path, error: UnknownPlugin) -> Problem:
    return Problem(find(node, (*path, "name")).place, str(error), UnknownPlugin)


def _make(
    cls: type[_Made], plugin: Plugin, what: str, node: Node, path: Path, problems: list[Problem]
) -> _Made | None:
    """The plug-in with its options. One that it does not know is reported, and left out to check the rest."""
    options = dict(plugin.options)
    before = len(problems)
    while True:
        try:
            made = cls(options)
            return made if len(problems) == before else None
        except ConfigurationError as error:
            found = _complaint(node, path, options, str(error))
            unknown = _UNKNOWN_OPTION.search(str(error))
            name = unknown[1] if unknown else ""
            if name not in options:
                problems.extend(found)
                return None
            problems.extend(
                each._replace(text=each.text + _better_place(name, what, each.text)) for each in found
            )
            del options[name]
        except Exception as error:  # a plug-in's own code
            problems.append(Problem(find(node, path).place, _failed(what, plugin.name, error)))
            return None


def _failed(what: str, name: str, error: Exception) -> str:
    return f'the {what} "{name}" can\'t be made with these options: {type(error).__name__}: {error}'


def _better_place(name: str, what: str, text: str) -> str:
    """What else an option may have been meant for, that the plug-in can't know of."""
    if what != "kind" or "did you mean" in text:
        return ""
    if name in ExperimentForm.model_fields:
        return f'; "{name}" stands beside "workload", not in it'
    return did_you_mean(name, WorkloadForm.model_fields)


def _complaint(node: Node, path: Path, options: dict[str, Any], text: str) -> list[Problem]:
    """At the option that the text names first, where it names one that stands in the file."""
    named = [(found.start(), name) for name in options if (found := _word(name).search(text))]
    place = find(node, path).place
    for _, name in sorted(named):
        if (inside := key_place(node, (*path, name))) != place:
            place = inside
            break
    return [Problem(place, line) for line in text.split("\n")]


def _word(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w-]){re.escape(name)}(?![\w-])")


def _strategy_options(cls: type[Strategy], plugin: Plugin, node: Node, path: Path) -> list[Problem]:
    """What is wrong with the names and types of the options."""
    takes = strategy_options(cls)
    open_ended = any(
        each.kind is each.VAR_KEYWORD for each in inspect.signature(cls.__init__).parameters.values()
    )
    of = f' of the strategy "{plugin.name}"'
    problems = []
    for name, value in plugin.options.items():
        if name in takes:
            expected = _mismatch(cls, name, value)
            if expected:
                place = find(node, (*path, name)).place
                problems.append(Problem(place, f"{name}: expected {expected}, found {describe(value)}"))
        elif not open_ended:
            problems.append(unknown_key(node, (*path, name), takes, "option", of))
    for name, default in takes.items():
        if default is inspect.Parameter.empty and name not in plugin.options:
            problems.append(Problem(find(node, path).place, f'missing option "{name}"{of}'))
    return problems


def _strategy_itself(cls: type[Strategy], plugin: Plugin, node: Node, path: Path) -> list[Problem]:
    """What the strategy says of the options' values."""
    try:
        made = cls(MemoryLedger(RequestCount()), "check", Clock(0.0), **plugin.options)
        lease_s = made.lease_s
    except ConfigurationError as error:
        return _complaint(node, path, plugin.options, str(error))
    except Exception as error:  # a plug-in's own code
        text = (
            f'the strategy "{plugin.name}" can\'t be made with these options: {type(error).__name__}: {error}'
        )
        return [Problem(find(node, path).place, text)]
    if lease_s is not None and not lease_s >= SHORTEST_HOLD_S:
        text = (
            f'the lease of the strategy "{plugin.name}" is {lease_s:g} s, shorter than the heartbeat allows, '
            f"which renews it every third of it: expected at least {SHORTEST_HOLD_S} s"
        )
        return _complaint(node, path, plugin.options, text)
    return []


def _mismatch(cls: type[Strategy], name: str, value: object) -> str | None:
    """What the option's annotation expects, if the value is something else."""
    try:
        hint = typing.get_type_hints(cls.__init__)[name]
        adapter = TypeAdapter(hint, config=ConfigDict(strict=True))
    except (KeyError, NameError, TypeError, PydanticUserError):
        return None  # no annotation that can be checked; the constructor has the say
    try:
        adapter.validate_python(value)
    except ValidationError:
        return _phrase(hint)
    return None


def _phrase(hint: Any) -> str:
    known = {float: "a number", int: "a whole number", str: "text", bool: "true or false"}
    if hint in known:
        return known[hint]
    if typing.get_origin(hint) is typing.Literal:
        return " or ".join(describe(each) for each in typing.get_args(hint))
    return str(hint)
