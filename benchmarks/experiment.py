"""An experiment: the points that it measures, and what is drawn from their records.

A finished measurement is a record and is not made again; tables are drawn from records alone.
"""

from __future__ import annotations

import hashlib
import statistics
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec


class Point(msgspec.Struct, frozen=True):
    """One measurement to make.

    what: what is measured, as it stands in the table.
    function: `module:function`, to be called with the options in an interpreter of its own.
    round: measurements that are compared with each other are made in turn, round by round, so that
        whatever else the machine does befalls all of them.
    """

    what: str
    function: str
    options: dict[str, Any] = {}
    round: int = 1

    def key(self) -> str:
        """Equal for measurements that need not be repeated."""
        body = msgspec.json.encode((self.function, self.options, self.round), order="sorted")
        return hashlib.sha256(body).hexdigest()[:16]


class Record(msgspec.Struct, frozen=True):
    """A measurement that was made.

    load: programs that wanted a core in the minute before it.
    at: when it was made, local time with its offset from UTC.
    """

    experiment: str
    point: Point
    figures: dict[str, Any]
    load: float
    at: str


class Table(msgspec.Struct, frozen=True):
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]


class Section(msgspec.Struct, frozen=True):
    """What an experiment found. Lines are broken anew wherever they are shown.

    findings: a sentence each, the ratio first. notes: how to read it. output: what a program printed.
    """

    title: str
    findings: Sequence[str] = ()
    tables: Sequence[Table] = ()
    output: str = ""
    notes: Sequence[str] = ()


class Experiment(ABC):
    name: str

    @abstractmethod
    def points(self, quick: bool) -> list[Point]:
        """What to measure, in this order; fewer and smaller ones for a quick look."""

    @abstractmethod
    def draw(self, records: Sequence[Record]) -> Section:
        """The tables. `records` has one of each point, whichever `points` were measured."""


class Spread(msgspec.Struct, frozen=True):
    """The same figure from all rounds."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def ratio(self, times: str = "x") -> str:
        low, high = min(self.values), max(self.values)
        return f"{self.median:.1f}{times} ({low:.1f} to {high:.1f})"


def spread(values: Iterable[float]) -> Spread:
    return Spread(tuple(values))


def by_what(records: Sequence[Record], figure: str) -> dict[str, Spread]:
    """A figure's spread for everything that was measured, in the order of its first measurement."""
    found: dict[str, list[float]] = {}
    for record in records:
        if record.figures.get(figure) is not None:
            found.setdefault(record.point.what, []).append(float(record.figures[figure]))
    return {what: spread(values) for what, values in found.items()}


def by_round(records: Sequence[Record], figure: str) -> dict[int, dict[str, float]]:
    """A figure of everything that was measured, round by round."""
    found: dict[int, dict[str, float]] = {}
    for record in records:
        if record.figures.get(figure) is not None:
            found.setdefault(record.point.round, {})[record.point.what] = float(record.figures[figure])
    return found


def rounds(count: int, points: Sequence[Point]) -> list[Point]:
    """The points again and again, in turn."""
    return [
        msgspec.structs.replace(point, round=number) for number in range(1, count + 1) for point in points
    ]
