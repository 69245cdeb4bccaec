"""Bodies of tasks as JSON, and what JSON can't hold."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from kon.core.errors import ConfigurationError

_encode = msgspec.json.Encoder().encode


def encode_body(body: Any) -> bytes:
    """The body as JSON, on one line. Raises ConfigurationError for what a worker could not get as it is."""
    try:
        encoded = _encode(body)
    except (TypeError, ValueError, RecursionError, OverflowError) as error:
        raise ConfigurationError(f"expected a JSON value, found {body!r:.80} ({error})") from error
    # JSON has no NaN and no infinity: the encoder writes null for them, and a worker would get that
    if b"null" in encoded and not _finite(body):
        raise ConfigurationError(f"expected finite numbers, found {body!r:.80}")
    return encoded


def _finite(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(_finite(key) and _finite(each) for key, each in value.items())
    if isinstance(value, list | tuple | set | frozenset):
        return all(_finite(each) for each in value)
    return True
