"""`stats`: describes a list of integers by its min, max, mean, median and sum.

All is exact, however large the integers. A mean or median that is a whole number is an integer;
any other is the nearest float.
"""

from __future__ import annotations

import asyncio
import heapq
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Annotated, Any, ClassVar, Final

import msgspec

from kon.core.errors import ConfigurationError, KindError, describe
from kon.core.kind import Attempt, Kind, MadeUp
from kon.core.options import OptionError, Options, read_options

SLICE: Final = 10_000
"""Integers that are dealt with in one go, in about a millisecond, before the event loop is let on."""


_INTEGER: Final = re.compile(r"[-+]?[0-9]{1,300}")
_TWO_BOUNDS: Final = "[low, high], whole numbers up to 2**52"
_Bound = Annotated[int, msgspec.Meta(ge=-(2**52), le=2**52)]


class ListsMadeUp(msgspec.Struct, frozen=True):
    """Made-up tasks of `stats`.

    length: How many integers each list holds.
    between: The least and the largest integer.
    """

    length: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 100
    between: Annotated[
        list[_Bound],
        msgspec.Meta(min_length=2, max_length=2, extra={"expected": _TWO_BOUNDS}),
    ] = msgspec.field(default_factory=lambda: [0, 1000])


class Stats(Kind):
    """Describes a list of integers by its min, max, mean, median and sum."""

    name: ClassVar[str] = "stats"
    takes = Options
    made_from = ListsMadeUp

    def __init__(self, options: Mapping[str, Any]) -> None:
        read_options(f"kind {self.name}", options, Options)

    def body_of_line(self, line: str) -> Any:
        """A list from integers with blanks or commas between them, or from JSON."""
        if line.lstrip().startswith("["):
            return super().body_of_line(line)
        words = line.replace(",", " ").split()
        wrong = next((word for word in words if not _INTEGER.fullmatch(word)), None)
        if wrong is not None or not words:
            raise ConfigurationError(
                f"expected integers with blanks between them, or a JSON list, found {describe(wrong or line)}"
            )
        return [int(word) for word in words]

    def make_up(self, count: int, given: Mapping[str, Any], seed: int) -> MadeUp:
        """Lists of integers that are drawn evenly between the two bounds, both included."""
        lists = msgspec.convert(given, ListsMadeUp)
        low, high = lists.between
        if low > high:
            raise OptionError(f"expected {_TWO_BOUNDS}, found {describe(lists.between)}", "between")

        def drawn() -> Iterator[list[int]]:
            # `random()` alone gives the same numbers in every version of Python
            share, span, length = random.Random(seed).random, high - low + 1, range(lists.length)
            return ([low + int(share() * span) for _ in length] for _ in range(count))

        return MadeUp(drawn)

    def check(self, body: Any) -> None:
        if not isinstance(body, list):
            raise ConfigurationError(f"expected a list of integers, got {body!r:.80}")
        if not body:
            raise ConfigurationError("expected a list of integers, got an empty list")
        for place, value in enumerate(body):
            if type(value) is not int:  # true and false are integers to isinstance
                raise ConfigurationError(f"expected a list of integers, got {value!r:.80} at place {place}")

    async def execute(self, body: Any, attempt: Attempt) -> Any:
        self.check(body)
        try:
            return _describe(body) if len(body) <= SLICE else await _describe_in_slices(body)
        except OverflowError as error:
            raise KindError(f"the mean or median is not whole and too large for a float: {error}") from error

    def execute_now(self, bodies: Sequence[Any]) -> list[Any] | None:
        try:
            if sum(map(len, bodies)) > SLICE:
                return None
            for body in bodies:
                self.check(body)
            return [_describe(body) for body in bodies]
        except (ConfigurationError, OverflowError, TypeError):
            return None  # `execute` says it, to the one task that it is about


def _describe(values: list[int]) -> dict[str, int | float]:
    ordered = sorted(values)
    middle = len(ordered) // 2
    median = ordered[middle] if len(ordered) % 2 else _divide(ordered[middle - 1] + ordered[middle], 2)
    total = sum(ordered)
    return {
        "min": ordered[0],
        "max": ordered[-1],
        "mean": _divide(total, len(ordered)),
        "median": median,
        "sum": total,
    }


async def _describe_in_slices(values: list[int]) -> dict[str, int | float]:
    """`describe` for a list that would keep heartbeats waiting if it were sorted whole."""
    runs: list[list[int]] = []
    total = 0
    for first in range(0, len(values), SLICE):
        runs.append(sorted(values[first : first + SLICE]))
        total += sum(runs[-1])
        await asyncio.sleep(0)
    # the two in the middle: for an odd length both are the same
    low, high = (len(values) - 1) // 2, len(values) // 2
    merged = heapq.merge(*runs)
    for _ in range(low // SLICE):
        next(islice(merged, SLICE - 1, None))
        await asyncio.sleep(0)
    middle = list(islice(merged, low % SLICE, high - low // SLICE * SLICE + 1))
    return {
        "min": min(run[0] for run in runs),
        "max": max(run[-1] for run in runs),
        "mean": _divide(total, len(values)),
        "median": middle[0] if low == high else _divide(sum(middle), 2),
        "sum": total,
    }


def _divide(total: int, count: int) -> int | float:
    whole, rest = divmod(total, count)
    return whole if rest == 0 else total / count
