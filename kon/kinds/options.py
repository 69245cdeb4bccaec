"""The options of a kind, checked, as a frozen value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec

from kon.errors import ConfigurationError
from kon.suggest import did_you_mean


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What every kind takes.

    slots: tasks at once. The worker says it; it is not for workload files.
    """

    slots: int = 1


_Options = TypeVar("_Options", bound=Options)

_SET_BY_WORKER: Final = frozenset(Options.__struct_fields__)
_PATH: Final = re.compile(r"^(?P<problem>.*?)(?: - at `(?:key in )?\$\.?(?P<path>.*)`)?$", re.DOTALL)


def read_options(kind: str, options: Mapping[str, Any], into: type[_Options]) -> _Options:
    """The options as `into`. Raises ConfigurationError for one that is unknown or of a wrong type."""
    known = [name for name in into.__struct_fields__ if name not in _SET_BY_WORKER]
    for name in options:
        if name not in into.__struct_fields__:
            takes = f"it takes {', '.join(known)}" if known else "it takes no options"
            raise ConfigurationError(
                f'unknown option "{name}" of kind {kind}{did_you_mean(str(name), known)} ({takes})'
            )
    try:
        return msgspec.convert(dict(options), into)
    except msgspec.ValidationError as error:
        found = _PATH.match(str(error))
        assert found is not None  # the expression matches any text
        where = f'option "{found["path"]}" of kind {kind}' if found["path"] else f"the options of kind {kind}"
        problem = found["problem"].replace("`", "")
        raise ConfigurationError(f"{where}: {problem[:1].lower()}{problem[1:]}") from error
