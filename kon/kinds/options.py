"""Former place of `kon.core.options`, kept for one release for kinds of your own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from kon.core import options as moved
from kon.core.options import Options

__all__ = ["Options", "read_options"]

_Options = TypeVar("_Options", bound=Options)


def read_options(kind: str, options: Mapping[str, Any], into: type[_Options]) -> _Options:
    """The options as `into`. Raises ConfigurationError for one that is unknown, missing or mistyped."""
    return moved.read_options(f"kind {kind}", options, into)
