"""Items: what a task gets. They travel as JSON, so that what would arrive changed is refused."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from kon.core.errors import ConfigurationError

_PLAIN: Final = (str, int, float, bool, type(None))
_LARGEST: Final = 2**64 - 1
_SMALLEST: Final = -(2**63)

Body = Callable[[Any], Any]
"""From an item to the body of its task. Raises ConfigurationError."""


class Bodies(Sequence[Any]):
    """The bodies of items that are a sequence, made whenever they are asked for."""

    def __init__(self, items: Sequence[Any], body: Body, caller: str) -> None:
        self._items = items
        self._body = body
        self._caller = caller

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Any]:
        return bodies_in_turn(self._items, self._body, self._caller)

    def __getitem__(self, at: Any) -> Any:
        return self._body(self._items[at])


def bodies_in_turn(items: Iterable[Any], body: Body, caller: str) -> Iterator[Any]:
    """The bodies, once. Raises ConfigurationError, which names the item."""
    for number, item in enumerate(items):
        try:
            yield body(item)
        except ConfigurationError as error:
            raise ConfigurationError(f"{caller}: items[{number}]: {error}") from error


def check_items(items: object, caller: str) -> None:
    """Raise ConfigurationError for what is no bag of items; a text is one item, not many letters."""
    if isinstance(items, str | bytes | Mapping) or not isinstance(items, Iterable):
        raise ConfigurationError(f"{caller}: items: expected a list or an iterator, found {items!r:.80}")


def first_and_all(items: Iterable[Any], caller: str) -> tuple[bool, Iterable[Any]]:
    """Whether there is an item at all, and all the items: none is lost by looking."""
    check_items(items, caller)
    if isinstance(items, Sequence):
        return bool(items), items
    iterator = iter(items)
    for first in iterator:
        return True, itertools.chain([first], iterator)
    return False, ()


def for_function(item: Any) -> Any:
    """The item itself, when a function in another process gets just this."""
    _check(item)
    return item


def for_call(item: Any) -> Any:
    """The item as the arguments of a call: a list or tuple in order, a dict by name."""
    _check(item)
    if isinstance(item, dict):
        return {"kwargs": item}
    if isinstance(item, list | tuple):
        return {"args": list(item)}
    raise ConfigurationError(
        f"with spread=True expected a list, a tuple or a dict of arguments, found {item!r:.80}"
    )


def for_command(item: Any) -> Any:
    """The item as a word of a command; see kon.kinds.shell for one that is not UTF-8."""
    if isinstance(item, os.PathLike):
        item = os.fspath(item)
    if isinstance(item, bytes):
        item = os.fsdecode(item)
    if isinstance(item, bool) or not isinstance(item, str | int | float):
        raise ConfigurationError(f"expected a text, a number or a path for the command, found {item!r:.80}")
    if isinstance(item, str) and not _is_utf8(item):
        return {"bytes": os.fsencode(item).decode("latin-1")}
    return item


def _is_utf8(text: str) -> bool:
    """Whether it is text; names of files that are not UTF-8 have surrogates for the odd bytes."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check(value: Any) -> None:
    """Raise ConfigurationError for what JSON would hand over as something else."""
    kind = type(value)
    if kind is int and not _SMALLEST <= value <= _LARGEST:
        raise ConfigurationError(f"{value:.4g} does not fit into 64 bits; pass it as text")
    if kind in _PLAIN:
        return
    if kind is list or kind is tuple:
        for each in value:
            _check(each)
        return
    if kind is dict:
        for key, each in value.items():
            if type(key) is not str:
                raise ConfigurationError(f"the key {key!r:.80} is not a text, as JSON needs it")
            _check(each)
        return
    hint = "; pass str(path)" if isinstance(value, os.PathLike) else ""
    raise ConfigurationError(
        f"{value!r:.80} is a {kind.__name__}, and items go to workers as JSON: text, numbers, true, false, "
        f"None, lists and dicts of these{hint}"
    )
