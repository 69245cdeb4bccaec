"""Numbered links: `https://host/img-{0001..0100}.jpg` stands for a hundred of them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Final

from kon.core.errors import ConfigurationError

MOST: Final = 10_000_000
"""Links that one pattern may stand for."""

_NUMBERS: Final = re.compile(r"\{(\d{1,18})\.\.(\d{1,18})\}")


def count_of(pattern: str) -> int:
    """How many texts a pattern stands for; 1 for one without numbers. Raises ConfigurationError for none,
    or too many."""
    total = 1
    for first, last in _NUMBERS.findall(pattern):
        if int(last) < int(first):
            raise ConfigurationError(f"the numbers {{{first}..{last}}} go down; write them from low to high")
        total *= int(last) - int(first) + 1
    if total > MOST:
        raise ConfigurationError(f"{pattern:.200} stands for {total:,} links, and {MOST:,} are the most")
    return total


def numbered(pattern: str) -> Iterator[str]:
    """Each of the texts, in order, the last numbers first to change. `{001..100}` is written with three
    digits, as in shells."""
    pieces = _NUMBERS.split(pattern)
    texts, bounds = pieces[::3], list(zip(pieces[1::3], pieces[2::3], strict=True))
    for numbers in itertools.product(*(range(int(first), int(last) + 1) for first, last in bounds)):
        out = [texts[0]]
        for number, (first, last), text in zip(numbers, bounds, texts[1:], strict=True):
            out += [f"{number:0{_width(first, last)}}", text]
        yield "".join(out)


def _width(first: str, last: str) -> int:
    padded = [each for each in (first, last) if len(each) > 1 and each.startswith("0")]
    return max(map(len, (first, last))) if padded else 1
