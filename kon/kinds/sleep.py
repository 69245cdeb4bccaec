"""`sleep`: waits. The body is how long, in seconds; the result is null."""

from __future__ import annotations

import asyncio
import math
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final

import msgspec

from kon.core.errors import ConfigurationError, describe
from kon.core.kind import Attempt, Kind, MadeUp
from kon.core.options import OptionError, Options, read_options
from kon.kinds.distributions import FORMS, SCHEMA, parse_distribution

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
