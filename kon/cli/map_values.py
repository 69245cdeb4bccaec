"""Values of the options of `kon map`, written as xargs and GNU parallel have them."""

from __future__ import annotations

import codecs
import math
import os
import re
from typing import Any, Final, Literal, NamedTuple

import click

Halting = Literal["never", "soon", "now"]
Counted = Literal["fail", "success", "done"]

MOST_SLOTS: Final = 10_000


class Jobs(NamedTuple):
    """How many commands at once: a number, or one that goes by the processors or the tasks."""

    text: str
    per_processor: float = 0.0
    more: int = 0
    as_many_as_tasks: bool = False

    def slots(self, processors: int, tasks: int) -> int:
        """From 1 to `MOST_SLOTS`."""
        wanted = tasks if self.as_many_as_tasks else math.floor(self.per_processor * processors) + self.more
        return max(1, min(wanted, MOST_SLOTS))


class Halt(NamedTuple):
    """When no more commands are started. threshold: a number, or, where `is_share`, a share of all tasks,
    that are `counted`."""

    when: Halting = "never"
    counted: Counted = "fail"
    threshold: float = 1.0
    is_share: bool = False

    def is_due(self, failed: int, succeeded: int, tasks: int) -> bool:
        if self.when == "never":
            return False
        found = {"fail": failed, "success": succeeded, "done": failed + succeeded}[self.counted]
        return found >= max(1.0, self.threshold * tasks if self.is_share else self.threshold)


class LoadLimit(NamedTuple):
    """A load average, or a share of what the processors take."""

    value: float
    is_share: bool

    def of(self, processors: int) -> float:
        return self.value * processors if self.is_share else self.value


class JobsType(click.ParamType[Jobs]):
    """`4`, `0` for as many as there are tasks, `50%` of the processors, `+1` or `-1` of them."""

    name = "jobs"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Jobs:
        if isinstance(value, Jobs):
            return value
        found = re.fullmatch(r"(?P<sign>[+-]?)(?P<number>\d{1,6})(?P<share>%?)", value.strip())
        if found is None:
            self.fail(
                "expected a number below 1000000, 0 for as many as tasks, 50% of the processors, or +1: "
                f'"{value}"',
                param,
                ctx,
            )
        number = int(found["number"])
        factor = -1 if found["sign"] == "-" else 1
        if found["share"]:
            share = number / 100
            return Jobs(value, (1 + factor * share) if found["sign"] else share)
        if found["sign"]:
            return Jobs(value, 1.0, factor * number)
        if number > MOST_SLOTS:
            self.fail(f"{number} is not in the range 0 to {MOST_SLOTS}", param, ctx)
        return Jobs(value, more=number, as_many_as_tasks=number == 0)


class CountType(click.ParamType[int]):
    """How many items a command gets."""

    name = "count"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        if not re.fullmatch(r"[1-9][0-9]{0,5}", value):
            self.fail(
                f'expected how many items a command gets, as in xargs: "{value:.80}". To see the commands '
                "and run none: --dry-run",
                param,
                ctx,
            )
        return int(value)


_HALT: Final = re.compile(
    r"(?P<when>never|soon|now)(?:,(?P<counted>fail|success|done)=(?P<number>\d{1,9}(?:\.\d+)?)(?P<share>%?))?"
)

_OLD_HALTS: Final = {"0": "never", "1": "soon,fail=1", "2": "now,fail=1"}
"""As older versions of GNU parallel had them."""


class HaltType(click.ParamType[Halt]):
    """`never`, `soon`, `now`, `soon,fail=3`, `now,fail=10%`, `now,success=1`."""

    name = "halt"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Halt:
        if isinstance(value, Halt):
            return value
        value = _OLD_HALTS.get(value, value)
        found = _HALT.fullmatch(value)
        if found is None or (found["when"] == "never" and found["counted"]):
            self.fail(
                f'"{value}" is not never, soon, now, or one of these with a number or a share: '
                "soon,fail=3, now,fail=10%, now,success=1, soon,done=5",
                param,
                ctx,
            )
        number = float(found["number"] or 1)
        if not number:
            self.fail(f'"{value}": expected 1 or more', param, ctx)
        if found["share"] and number > 100:
            self.fail(f'"{value}": a share is at most 100%; a number has no %', param, ctx)
        when: Halting = found["when"]  # type: ignore[assignment] # as the pattern has it
        counted: Counted = found["counted"] or "fail"  # type: ignore[assignment]
        return Halt(when, counted, number / 100 if found["share"] else number, bool(found["share"]))


_SECONDS: Final = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}

MOST_S: Final = 604_800
"""A week: what an experiment file allows as well."""


class SecondsType(click.ParamType[float]):
    """Seconds, or a number with s, m, h or d."""

    name = "seconds"

    def __init__(self, *, above_zero: bool) -> None:
        self._above_zero = above_zero

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"(?P<number>\d+(?:\.\d*)?|\.\d+)(?P<unit>[smhd]?)", value.strip())
        if found is None:
            self.fail(f'expected seconds, or a number with s, m, h or d: "{value}"', param, ctx)
        seconds = float(found["number"]) * _SECONDS[found["unit"]]
        if seconds > MOST_S or (self._above_zero and not seconds):
            least = "more than 0" if self._above_zero else "0 or more"
            self.fail(f"expected {least} and at most {MOST_S} seconds: {value}", param, ctx)
        return seconds


class SizeType(click.ParamType[int]):
    """Bytes, with K, M, G, T (1,024 each) or k, m, g, t (1,000), as GNU parallel has them."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(?P<number>\d+(?:\.\d*)?)(?P<unit>[KMGTkmgt]?)", value.strip())
        if found is None:
            self.fail(f'expected bytes, or a number with K, M, G, T, k, m, g or t: "{value}"', param, ctx)
        unit = found["unit"]
        base = 1024 if unit.isupper() else 1000
        return int(float(found["number"]) * base ** (" kmgt".index(unit.lower()) if unit else 0))


class LoadType(click.ParamType[LoadLimit]):
    """A load average, or a share of the processors: `100%` is one for each."""

    name = "load"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> LoadLimit:
        if isinstance(value, LoadLimit):
            return value
        found = re.fullmatch(r"(?P<number>\d+(?:\.\d*)?|\.\d+)(?P<share>%?)", value.strip())
        if found is None or not float(found["number"]):
            self.fail(f'expected a load average above 0, or a share of the processors: "{value}"', param, ctx)
        number = float(found["number"])
        return LoadLimit(number / 100 if found["share"] else number, bool(found["share"]))


class DelimiterType(click.ParamType[bytes]):
    """One character, or an escape of one: `\\n`, `\\t`, `\\0`, `\\x1f`."""

    name = "delimiter"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        if isinstance(value, bytes):
            return value
        raw = os.fsencode(value)
        try:
            made = codecs.escape_decode(raw)[0] if raw.startswith(b"\\") else raw
        except ValueError:
            made = b""
        if not made or (len(made) > 1 and len(value) > 1):
            self.fail(f'expected one character, or an escape such as \\n, \\t, \\0: "{value}"', param, ctx)
        return bytes(made)
