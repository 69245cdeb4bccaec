"""From pydantic's errors to problems with a place: what was expected there, and what was found."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable
from typing import Annotated, Any, Final

from pydantic import BaseModel, ValidationError

from kon.core.errors import describe
from kon.core.options import Path, unknown
from kon.experiment.model import Expected
from kon.experiment.problems import Place, Problem
from kon.experiment.yamltree import Mapping, Node, Sequence, find, plain

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


def key_place(node: Node, path: Path) -> Place:
    """Where the key at the end of a path stands; for one that is not there, the mapping that lacks it."""
    above = find(node, path[:-1])
    if isinstance(above, Mapping) and path[-1] in above.entries:
        return above.entries[str(path[-1])].place
    return above.place


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
        [given] = [each for each in typing.get_args(annotation) if each is not type(None)]
        return _bare(given, [], phrase)
    return annotation, phrase
