"""Where the items of `kon map` come from, and how they are put together: each with each, linked, in columns,
or several for a command."""

from __future__ import annotations

import itertools
import math
import os
import re
import sys
from abc import abstractmethod
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

import click

from kon.api.stored import Stored
from kon.cli.map_words import ItemInput
from kon.core.errors import ConfigurationError, WorkloadError

Item = str | tuple[str, ...]
"""What a task gets: an item, or several."""

_CHUNK_BYTES: Final = 1 << 20

MOST_BYTES: Final = 128 * 1024
"""Bytes of the items of one command: xargs' own limit, and what Linux allows for a script that names each."""

_NAMED_BYTES: Final = 24
"""Bytes of an item's name in a script and of what stands around it, at most."""


def read_sources(sources: Sequence[ItemInput], delimiter: bytes) -> list[Sequence[str]]:
    """The items of each. Raises UsageError, and WorkloadError for a file that can't be read."""
    if sum(source.file == "-" for source in sources) > 1:
        raise click.UsageError("standard input is named twice, and can be read once")
    return [
        list(source.words) if source.words is not None else read_file(source.file or "-", delimiter)
        for source in sources
    ]


def combined(sources: Sequence[ItemInput], values: Sequence[Sequence[str]]) -> Sequence[Item]:
    """The items of the tasks: of one source as they are, of several each with each.

    Raises UsageError for sources that are linked and differ in length.
    """
    if len(values) == 1:
        return values[0]
    groups: list[list[Sequence[str]]] = []
    for source, items in zip(sources, values, strict=True):
        if not source.linked:
            groups.append([items])
            continue
        first = groups[-1][0]
        if len(items) != len(first):
            raise click.UsageError(
                f"linked sources have an item for each of the other's: one has {len(first):,}, the one "
                f"linked to it {len(items):,}"
            )
        groups[-1].append(items)
    return _Combinations(groups)


class _Made(Sequence[Item]):
    """Items that are made whenever they are asked for."""

    def __getitem__(self, at: Any) -> Any:
        if not 0 <= at < len(self):
            raise IndexError(at)
        return self._made(at)

    @abstractmethod
    def _made(self, at: int) -> Item: ...


class _Combinations(_Made):
    """Each of the first group with each of the second, and so on; the last changes fastest."""

    def __init__(self, groups: Sequence[Sequence[Sequence[str]]]) -> None:
        self._groups = groups
        self._sizes = [len(group[0]) for group in groups]

    def __len__(self) -> int:
        return math.prod(self._sizes)

    def _made(self, at: int) -> Item:
        found: list[tuple[str, ...]] = []
        for group, size in zip(reversed(self._groups), reversed(self._sizes), strict=True):
            at, place = divmod(at, size)
            found.append(tuple(items[place] for items in group))
        return tuple(itertools.chain.from_iterable(reversed(found)))


class Columns(_Made):
    """Each line cut where `separator` matches."""

    def __init__(self, lines: Sequence[str], separator: re.Pattern[str]) -> None:
        self._lines = lines
        self._separator = separator

    def __len__(self) -> int:
        return len(self._lines)

    def __iter__(self) -> Iterator[Item]:
        return map(self._cut, self._lines)

    def _made(self, at: int) -> Item:
        return self._cut(self._lines[at])

    def _cut(self, line: str) -> Item:
        return tuple(self._separator.split(line))


class Groups(_Made):
    """Several items for a command, one after the other."""

    def __init__(self, items: Sequence[str], starts: Sequence[int]) -> None:
        """`starts`: where each group begins."""
        self._items = items
        self._ends = array("Q", [*starts, len(items)])

    @classmethod
    def of(cls, items: Sequence[str], most: int | None, slots: int, *, spread: bool) -> Groups:
        """At most `most` for a command, and as many as one takes. `spread`: shared evenly by the slots where
        there would be fewer commands than that, as GNU parallel has it with -X and -m."""
        starts = list(_starts(items, most))
        if spread and len(starts) < slots and len(items) > len(starts):
            starts = list(_starts(items, min(most or len(items), math.ceil(len(items) / slots))))
        return cls(items, starts)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def _made(self, at: int) -> Item:
        return tuple(self._items[each] for each in range(self._ends[at], self._ends[at + 1]))


def _starts(items: Iterable[str], most: int | None) -> Iterator[int]:
    count = size_bytes = 0
    for at, item in enumerate(items):
        item_bytes = len(os.fsencode(item)) + _NAMED_BYTES
        if not at or count == most or size_bytes + item_bytes > MOST_BYTES:
            yield at
            count = size_bytes = 0
        count += 1
        size_bytes += item_bytes


def shown(item: Item) -> str:
    """An item in a message or before a line of output."""
    return item if isinstance(item, str) else " ".join(item)


def separator_of(text: str) -> re.Pattern[str]:
    """The pattern that --colsep names. Raises UsageError for one that is none."""
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise click.UsageError(f"--colsep {text}: is no regular expression: {error}") from error
    if pattern.groups or pattern.match(""):
        raise click.UsageError(f"--colsep {text}: expected a pattern that matches something, without groups")
    return pattern


def read_file(file: str, delimiter: bytes) -> Sequence[str]:
    """The items in a file, or (`-`) on standard input. Raises WorkloadError where it can't be read."""
    if file == "-":
        return _stored("standard input", sys.stdin.buffer, delimiter)
    try:
        with Path(file).open("rb") as opened:
            return _stored(file, opened, delimiter)
    except OSError as error:
        raise WorkloadError(f"items in {file}: can't be read: {error.strerror}") from error


def _stored(name: str, source: BinaryIO, delimiter: bytes) -> Sequence[str]:
    """The items. Empty lines are left out; with another delimiter, an item is all that stands before it.
    Bytes that are not UTF-8 stand in it as Python has them in names of files."""
    pieces = _split(source, delimiter)
    return Stored(name, filter(None, pieces) if delimiter == b"\n" else pieces, os.fsdecode)


def _split(source: BinaryIO, separator: bytes) -> Iterator[bytes]:
    rest = b""
    while chunk := source.read(_CHUNK_BYTES):
        *whole, rest = (rest + chunk).split(separator)
        yield from whole
    if rest:
        yield rest


def refusal(number: int, error: ConfigurationError) -> str:
    """What is said of an item, counted from 1, that no command can take."""
    hint = ". Items that end with NUL are read with -0" if "NUL" in str(error) else ""
    return f"kon map: item {number}: {error}{hint}"
