"""How long made-up tasks take: `seconds: 0.01`, or drawn, `seconds: {uniform: [0.01, 0.02]}`."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Final

from kon.core.errors import ConfigurationError, describe

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
