"""References to Python functions, `module:name` or `path/to/file.py:name`, and what can be found out about
them without running any of the code that they name."""

from __future__ import annotations

import ast
import hashlib
import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Final

import msgspec

from kon.core.errors import ConfigurationError, did_you_mean

FROM_FILE: Final = "_kon_"
"""How the names of modules begin that are read from a file."""


class FunctionReference(msgspec.Struct, frozen=True):
    """module: the name to import, for a file a private one that follows from its path.
    file: the absolute path, for a file.
    qualname: `function`, or `Class.method`.
    """

    module: str
    file: str | None
    qualname: str


def parse(text: str) -> FunctionReference:
    """Raises ConfigurationError for a text that can't be a reference."""
    where, colon, qualname = text.rpartition(":")
    if not colon or not where or not all(part.isidentifier() for part in qualname.split(".")):
        raise ConfigurationError(f'expected "module:function" or "path/to/file.py:function", got "{text}"')
    if where.endswith(".py") or "/" in where:
        file = str(Path(where).absolute())
        return FunctionReference(
            f"{FROM_FILE}{hashlib.sha256(file.encode()).hexdigest()[:16]}", file, qualname
        )
    if not all(part.isidentifier() for part in where.split(".")):
        raise ConfigurationError(f'"{where}" in "{text}" is neither the name of a module nor a .py file')
    return FunctionReference(where, None, qualname)


_DYNAMIC = frozenset({"*", "__getattr__", "globals", "locals", "vars", "exec", "setattr"})
"""With any of these about, a module may have more names than its source shows."""


def check(reference: FunctionReference, path: Sequence[str]) -> None:
    """Raises ConfigurationError where the function can't be there.

    Reads source and runs none, so what modules do as they run (`sys.modules`, `__getattr__`) may hide
    that a function is missing, and never that one is there.
    """
    source = Path(reference.file) if reference.file else _source(reference.module, path)
    if source is None:
        return
    try:
        tree = ast.parse(source.read_bytes(), str(source))
    except OSError as error:
        raise ConfigurationError(f'can\'t read "{source}": {error.strerror}') from error
    except (SyntaxError, ValueError) as error:
        line = f":{error.lineno}" if isinstance(error, SyntaxError) else ""
        raise ConfigurationError(f"{source}{line} is not Python: {error}") from error
    bound = set(_bound(tree))
    name = reference.qualname.partition(".")[0]
    if name not in bound and not bound & _DYNAMIC:
        raise ConfigurationError(f'{source} defines no "{name}"{did_you_mean(name, bound)}')


def _source(module: str, path: Sequence[str]) -> Path | None:
    """Where the module's source is; None where there is none, or where only an import could tell."""
    top, *rest = module.split(".")
    spec = importlib.machinery.PathFinder.find_spec(top, list(path)) or _installed(top)
    name = top
    for part in rest:
        if spec is None or spec.submodule_search_locations is None:
            break
        name = f"{name}.{part}"
        spec = importlib.machinery.PathFinder.find_spec(name, list(spec.submodule_search_locations))
    if spec is None:
        raise ConfigurationError(
            f'there is no module "{name}" on the path; `sys_path` names folders to look in as well'
        )
    if spec.name != module or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    return Path(spec.origin)


def _installed(top: str) -> ModuleSpec | None:
    """As an import would find it: built-in modules, and those that an import hook knows."""
    try:
        return importlib.util.find_spec(top)
    except ValueError:  # a module that was made, not found, such as __main__
        return getattr(sys.modules.get(top), "__spec__", None)


def _bound(node: ast.AST) -> Iterator[str]:
    """The names that a module binds at its top level, and those in `_DYNAMIC` that it uses there."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield child.name
            continue
        if isinstance(child, ast.alias):
            yield child.asname or child.name.partition(".")[0]
        elif isinstance(child, ast.Name) and (isinstance(child.ctx, ast.Store) or child.id in _DYNAMIC):
            yield child.id
        yield from _bound(child)
