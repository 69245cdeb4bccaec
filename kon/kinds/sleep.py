"""`sleep`: waits. The body is how long, in seconds; the result is null."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from kon.core.errors import ConfigurationError
from kon.core.kind import Attempt, Kind
from kon.kinds.options import Options, read_options


class Sleep(Kind):
    name: ClassVar[str] = "sleep"
    virtual_time: ClassVar[bool] = True

    def __init__(self, options: Mapping[str, Any]) -> None:
        read_options(self.name, options, Options)

    def check(self, body: Any) -> None:
        if isinstance(body, bool) or not isinstance(body, int | float):
            raise ConfigurationError(f"expected the seconds to sleep, a number, got {body!r:.80}")
        try:
            usable = math.isfinite(body) and body >= 0
        except OverflowError:  # an integer beyond all floats
            usable = False
        if not usable:
            raise ConfigurationError(f"expected the seconds to sleep, 0 or more and finite, got {body!r:.80}")

    def duration_s(self, body: Any) -> float | None:
        return float(body)

    async def execute(self, body: Any, attempt: Attempt) -> Any:
        await asyncio.sleep(body)

    def execute_now(self, bodies: Sequence[Any]) -> list[Any] | None:
        return None if any(bodies) else [None] * len(bodies)
