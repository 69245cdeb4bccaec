"""The options of a kind, checked, as a frozen value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeVar, get_args, get_origin

import msgspec

from kon.core.errors import ConfigurationError, did_you_mean


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What every kind takes.

    slots: tasks at once. The worker says it; it is not for workload files.
    """

    slots: int = 1


_Options = TypeVar("_Options", bound=Options)

_SET_BY_WORKER: Final = frozenset(Options.__struct_fields__)
_PATH: Final = re.compile(r" - at `(?:key in )?\$\.?(?P<option>\w*)[^`]*`$")


def read_options(kind: str, options: Mapping[str, Any], into: type[_Options]) -> _Options:
    """The options as `into`. Raises ConfigurationError for one that is unknown, missing or mistyped."""
    fields = {field.name: field for field in msgspec.structs.fields(into)}
    known = [name for name in fields if name not in _SET_BY_WORKER]
    for name in options:
        if name not in fields:
            takes = f"it takes {', '.join(known)}" if known else "it takes no options"
            raise ConfigurationError(
                f'unknown option "{name}" of kind {kind}{did_you_mean(str(name), known)} ({takes})'
            )
    for name, field in fields.items():
        if field.required and name not in options:
            raise ConfigurationError(f'the kind {kind} needs the option "{name}"')
        choices = get_args(field.type) if get_origin(field.type) is Literal else ()
        if choices and name in options and options[name] not in choices:
            found = options[name]
            raise ConfigurationError(
                f'option "{name}" of kind {kind}: expected one of {", ".join(choices)}, '
                f"got {found!r:.80}{did_you_mean(str(found), choices)}"
            )
    try:
        return msgspec.convert(dict(options), into)
    except msgspec.ValidationError as error:
        place = _PATH.search(str(error))
        where = f'option "{place["option"]}"' if place is not None else "the options"
        problem = _PATH.sub("", str(error)).replace("`", "")
        for ours, theirs in (("list", "array"), ("mapping", "object")):
            problem = problem.replace(theirs, ours)
        raise ConfigurationError(f"{where} of kind {kind}: {problem[:1].lower()}{problem[1:]}") from error
