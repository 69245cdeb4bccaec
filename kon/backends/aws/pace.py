"""How fast to go at a service that may turn calls down: how many at once, how long to wait, and what is said
where that was in vain."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, TypeVar

from kon.core.errors import BackendUnavailable

_Reply = TypeVar("_Reply")

TRIES: Final = 10
"""Attempts at an item that is turned down before its call is given up: the SDK's own default for DynamoDB."""

FIRST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 5.0


def backoff_s(rng: random.Random, tries: int) -> float:
    """How long to wait after the `tries`-th refusal in a row, in seconds.

    Full jitter: anything from nothing to a limit that doubles, so that the workers that were turned
    down together don't come back together.
    """
    return rng.uniform(0.0, min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** (tries - 1)))


class Pace:
    """How many calls may be in flight: one more after as many went well, half as many after a throttle.

    most: more are never in flight. Several throttles of calls that were in flight together count as one.
    rng: for the length of pauses, which `sleep` makes.
    """

    def __init__(
        self,
        most: int,
        rng: random.Random,
        *,
        start: int = 4,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.limit = float(min(most, start))
        self.in_flight = 0
        self._most = most
        self._rng = rng
        self._sleep = sleep
        self._cuts = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def run(
        self, call: Callable[[], Awaitable[_Reply]], was_throttled: Callable[[_Reply], bool] | None = None
    ) -> _Reply:
        """Make the call when there is room.

        was_throttled: whether a reply reports a throttle; a BackendUnavailable always does.
        """
        begun = await self._begin()
        throttled = False
        try:
            reply = await call()
            throttled = was_throttled is not None and was_throttled(reply)
            return reply
        except BackendUnavailable:
            throttled = True
            raise
        finally:
            self._end(begun, throttled)

    async def pause(self, tries: int) -> None:
        """Wait after the `tries`-th refusal in a row."""
        await self._sleep(backoff_s(self._rng, tries))

    async def _begin(self) -> int:
        while self.in_flight >= int(self.limit):
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if not turn.cancelled():  # the turn was ours already: it is another's now
                    self._wake()
                raise
        self.in_flight += 1
        return self._cuts

    def _end(self, begun: int, throttled: bool) -> None:
        self.in_flight -= 1
        if not throttled:
            self.limit = min(float(self._most), self.limit + 1.0 / self.limit)
        elif begun == self._cuts:
            self._cuts += 1
            self.limit = max(1.0, self.limit / 2.0)
        self._wake()

    def _wake(self) -> None:
        room = int(self.limit) - self.in_flight
        while self._waiting and room > 0:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                room -= 1


def given_up(items: int, what: str, tries: int, why: str) -> BackendUnavailable:
    """What is raised for items that were turned down `TRIES` times."""
    return BackendUnavailable(
        f"{items} of the rows to be {what} were turned down {tries} times in a row ({why}); "
        "the call will be tried again as a whole"
    )


async def side_by_side(work: Sequence[Coroutine[Any, Any, _Reply]]) -> list[_Reply]:
    """What each returns. All have ended when it does: an error is raised when the others are through."""
    if len(work) == 1:
        return [await work[0]]
    found: list[_Reply] = []
    for outcome in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
        found.append(outcome)
    return found
