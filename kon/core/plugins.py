"""Plug-ins: strategies, kinds and backends, found by name, and the options that each declares.

A name is one that a distribution registers under the entry point groups below, or `module:Class`.
For strategies and kinds the current folder is searched too, last, so that a file of one's own needs
no packaging and can't hide an installed module.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Literal

from kon.core.backend import Backend
from kon.core.distribution import entries
from kon.core.errors import UnknownPlugin, did_you_mean
from kon.core.kind import Kind
from kon.core.options import Struct
from kon.core.spec import Plugin
from kon.core.strategy import Strategy, declared_options

Group = Literal["kon.strategies", "kon.kinds", "kon.backends"]

_WHAT: Final[dict[Group, str]] = {
    "kon.strategies": "strategy",
    "kon.kinds": "kind",
    "kon.backends": "backend",
}
_BASE: Final[dict[Group, type[Any]]] = {
    "kon.strategies": Strategy,
    "kon.kinds": Kind,
    "kon.backends": Backend,
}


_FORMER: Final = "strategies"
"""Former name of kon.strategies, kept for one release for people's own files. It means that package only
where nothing else is found under it."""


def strategy_class(name: str) -> type[Strategy]:
    """The strategy of that name. Raises UnknownPlugin."""
    found: type[Strategy] = _find("kon.strategies", name, search_here=True)
    return found


def kind_class(name: str) -> type[Kind]:
    """The kind of that name. Raises UnknownPlugin."""
    found: type[Kind] = _find("kon.kinds", name, search_here=True)
    return found


def backend_class(name: str) -> type[Backend]:
    """The backend of that name. Raises UnknownPlugin."""
    found: type[Backend] = _find("kon.backends", name, search_here=False)
    return found


def plugin_class(group: Group, name: str) -> type[Any]:
    """The class that a name stands for. Raises UnknownPlugin."""
    return _find(group, name, search_here=group != "kon.backends")


def docstring(cls: type[Any]) -> str:
    """What a plug-in says of itself; its name where it says nothing, or has it from a base class."""
    return inspect.cleandoc(vars(cls).get("__doc__") or cls.__name__)


def takes(cls: type[Strategy] | type[Kind] | type[Backend]) -> Struct | None:
    """The options of a plug-in, declared; None where only its constructor knows them."""
    return declared_options(cls) if issubclass(cls, Strategy) else cls.takes


def names(group: Group) -> list[str]:
    """The names that are registered in a group, sorted."""
    return sorted(_registered(group))


@functools.cache
def _registered(group: Group) -> dict[str, list[str]]:
    """What each name stands for; more than one value where distributions disagree."""
    found: dict[str, list[str]] = {}
    for entry in entries():
        if entry.group == group:
            values = found.setdefault(entry.name, [])
            if entry.value not in values:
                values.append(entry.value)
    return found


def _find(group: Group, name: str, search_here: bool) -> type[Any]:
    registered = _registered(group)
    if name in registered:
        values = registered[name]
        if len(values) > 1:
            raise UnknownPlugin(
                f'the {_WHAT[group]} "{name}" is registered more than once: {", ".join(values)}; '
                "name the one you mean as module:Class"
            )
        return _load(group, name, values[0], search_here)
    if ":" in name:
        return _load(group, name, name, search_here)
    raise UnknownPlugin(_unknown(group, name, search_here))


def _unknown(group: Group, name: str, search_here: bool) -> str:
    known = names(group)
    if not known:
        return (
            f'unknown {_WHAT[group]} "{name}": none is registered at all, so kon is not installed in '
            f"{sys.executable}; install it, for a checkout by `make setup`"
        )
    own = ", or your own as module:Class" if search_here else ""
    return f'unknown {_WHAT[group]} "{name}"{did_you_mean(name, known)} (known: {", ".join(known)}{own})'


def _load(group: Group, name: str, target: str, search_here: bool) -> type[Any]:
    module_name, _, attribute = target.partition(":")
    what, base = f'{_WHAT[group]} "{name}"', _BASE[group]
    if not (_dotted(module_name) and _dotted(attribute)):
        raise UnknownPlugin(f"{what}: expected module:Class, such as mylab.strategies:Mine")
    module = _import(what, module_name, search_here)
    found: object = module
    for part in attribute.split("."):
        found = getattr(found, part, None)
    if found is None:
        classes = [
            each.__name__
            for each in vars(module).values()
            if inspect.isclass(each) and issubclass(each, base)
        ]
        raise UnknownPlugin(
            f'{what}: the module "{module_name}" has no "{attribute}"{did_you_mean(attribute, classes)}'
        )
    if not (inspect.isclass(found) and issubclass(found, base)):
        raise UnknownPlugin(
            f"{what}: {target} is not a class derived from {base.__module__}.{base.__qualname__}"
        )
    if inspect.isabstract(found):
        lacking = ", ".join(sorted(getattr(found, "__abstractmethods__", ())))
        raise UnknownPlugin(f"{what}: {target} is abstract; it still lacks {lacking}")
    return found


def _dotted(name: str) -> bool:
    return all(part.isidentifier() for part in name.split("."))


def _import(what: str, module_name: str, search_here: bool) -> ModuleType:
    own = module_name.partition(".")[0] == __name__.partition(".")[0]  # which is not in the current folder
    try:
        with _current_folder_last(search_here and not own):
            return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name == _FORMER and _FORMER not in sys.modules:
            sys.modules[_FORMER] = importlib.import_module("kon.strategies")
            return _import(what, module_name, search_here)
        if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
            where = f", nor in {_current_folder()}" if search_here else ""
            raise UnknownPlugin(
                f'{what}: there is no module "{error.name}" among the installed packages{where}'
            ) from error
        raise UnknownPlugin(f'{what}: importing "{module_name}" failed: {error}') from error
    except (Exception, SystemExit) as error:  # a plug-in's own code, which may do anything
        reason = f"{type(error).__name__}: {error}"
        raise UnknownPlugin(f'{what}: importing "{module_name}" failed: {reason}') from error


@contextmanager
def _current_folder_last(search_here: bool) -> Iterator[None]:
    here = _current_folder()
    if not search_here or here is None or here in sys.path:
        yield
        return
    sys.path.append(here)
    # a module that was written after this process looked into the folder is found as well
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(here)


def _current_folder() -> str | None:
    """None where it has been removed: a program may stand in such a one, and finds nothing there."""
    try:
        return str(Path.cwd())
    except FileNotFoundError:
        return None


def open_backend(plugin: Plugin, root: Path) -> Backend:
    """The backend of a run whose folder stands in `root`. Raises UnknownPlugin, ConfigurationError."""
    cls = backend_class(plugin.name)
    place = {"path": str(root)} if cls.keeps_files else {}
    return cls({**place, **plugin.options})
