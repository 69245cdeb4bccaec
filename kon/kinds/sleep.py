"""`sleep`: waits. The body is how long, in seconds; the result is null.

Made-up tasks take `seconds: 0.01`, or a time that is drawn: `seconds: {uniform: [0.01, 0.02]}`.
"""

from __future__ import annotations

import asyncio
import math
import random
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final

import msgspec

from kon.core.errors import ConfigurationError, describe
from kon.core.kind import Attempt, Kind, MadeUp
from kon.core.options import OptionError, Options, read_options

FORMS: Final = "a number, {uniform: [low, high]}, {choice: [...]} or {exponential: mean}"

_NUMBER: Final = {"type": "number", "minimum": 0}

SCHEMA: Final[dict[str, Any]] = {
    "anyOf": [
        _NUMBER,
        *(
            {"type": "object", "properties": {form: given}, "required": [form], "additionalProperties": False}
            for form, given in {
                "uniform": {"type": "array", "items": _NUMBER, "minItems": 2, "maxItems": 2},
                "choice": {"type": "array", "items": _NUMBER, "minItems": 1},
                "exponential": _NUMBER,
            }.items()
        ),
    ],
    "examples": [0.01, {"uniform": [0.01, 0.02]}],
}
"""JSON Schema of these forms."""

LONGEST: Final = 1e9
"""The largest value that may be drawn: in seconds, 31 years."""


class Distribution(ABC):
    """Values of zero or more; the unit is the user's."""

    @abstractmethod
    def at(self, share: float) -> float:
        """The value below which `share` of all draws lie; share is in [0, 1)."""

    @property
    def constant(self) -> float | None:
        """The one value that is ever drawn, if there is only one."""
        return None


@dataclass(frozen=True)
class Constant(Distribution):
    value: float

    def at(self, share: float) -> float:
        return self.value

    @property
    def constant(self) -> float | None:
        return self.value


@dataclass(frozen=True)
class Uniform(Distribution):
    low: float
    high: float

    def at(self, share: float) -> float:
        return self.low + (self.high - self.low) * share


@dataclass(frozen=True)
class Choice(Distribution):
    values: tuple[float, ...]

    def at(self, share: float) -> float:
        return self.values[int(share * len(self.values))]


@dataclass(frozen=True)
class Exponential(Distribution):
    mean: float

    def at(self, share: float) -> float:
        return -self.mean * math.log1p(-share)


def parse_distribution(value: object) -> Distribution:
    """What was written in YAML. Raises ConfigurationError."""
    if _is_number(value):
        return Constant(_in_range(value))
    if not isinstance(value, dict) or len(value) != 1:
        raise ConfigurationError(f"expected {FORMS}, found {describe(value)}")
    [(form, given)] = value.items()
    match form:
        case "uniform" if isinstance(given, list) and len(given) == 2:
            low, high = _in_range(given[0]), _in_range(given[1])
            if low > high:
                raise ConfigurationError(f"uniform: expected [low, high], found {low} above {high}")
            return Uniform(low, high)
        case "uniform":
            raise ConfigurationError(f"uniform: expected two numbers, [low, high], found {describe(given)}")
        case "choice" if isinstance(given, list) and given:
            return Choice(tuple(_in_range(each) for each in given))
        case "choice":
            raise ConfigurationError(f"choice: expected a list of numbers, found {describe(given)}")
        case "exponential":
            return Exponential(_in_range(given))
        case _:
            raise ConfigurationError(f"expected {FORMS}, found {describe(form)}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _in_range(value: Any) -> float:
    if not (_is_number(value) and 0 <= value <= LONGEST):
        raise ConfigurationError(f"expected a number from 0 to {LONGEST:g}, found {describe(value)}")
    return float(value)


_LINE: Final = re.compile(r"sleep[ \t]+([0-9]+(?:\.[0-9]+)?)")


class SleepsMadeUp(msgspec.Struct, frozen=True):
    """Made-up tasks of `sleep`.

    seconds: How long each takes, in seconds, or what that is drawn from.
    """

    seconds: Annotated[Any, msgspec.Meta(extra={"expected": FORMS}, extra_json_schema=SCHEMA)]


class Sleep(Kind):
    """Waits for the seconds that its body says."""

    name: ClassVar[str] = "sleep"
    takes = Options
    made_from = SleepsMadeUp
    virtual_time: ClassVar[bool] = True

    def __init__(self, options: Mapping[str, Any]) -> None:
        read_options(f"kind {self.name}", options, Options)

    def check(self, body: Any) -> None:
        if isinstance(body, bool) or not isinstance(body, int | float):
            raise ConfigurationError(f"expected the seconds to sleep, a number, got {body!r:.80}")
        try:
            usable = math.isfinite(body) and body >= 0
        except OverflowError:  # an integer beyond all floats
            usable = False
        if not usable:
            raise ConfigurationError(f"expected the seconds to sleep, 0 or more and finite, got {body!r:.80}")

    def body_of_line(self, line: str) -> Any:
        """Seconds from `sleep 10000`, in milliseconds, as the older systems wrote it."""
        found = _LINE.fullmatch(line.strip())
        if found is None:
            raise ConfigurationError(
                f'expected "sleep MILLISECONDS" such as "sleep 10000", found {describe(line.strip())}'
            )
        return float(found[1]) / 1000

    def make_up(self, count: int, given: Mapping[str, Any], seed: int) -> MadeUp:
        """Sleeps of a length that is given, or drawn: body n is the n-th draw of the seed."""
        try:
            distribution = parse_distribution(given["seconds"])
        except ConfigurationError as error:
            raise OptionError(str(error), "seconds") from error
        if (constant := distribution.constant) is not None:
            return MadeUp(lambda: (constant for _ in range(count)), [constant], repr(distribution))

        def drawn() -> Iterator[float]:
            share = random.Random(seed).random
            return (round(distribution.at(share()), 6) for _ in range(count))

        return MadeUp(drawn)

    def duration_s(self, body: Any) -> float | None:
        return float(body)

    async def execute(self, body: Any, attempt: Attempt) -> Any:
        await asyncio.sleep(body)

    def execute_now(self, bodies: Sequence[Any]) -> list[Any] | None:
        return None if any(bodies) else [None] * len(bodies)
