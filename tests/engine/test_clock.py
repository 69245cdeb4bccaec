"""The clock of a host that was suspended."""

from __future__ import annotations

import asyncio
import time

import pytest

from kon.core import clock as module
from kon.core.clock import Clock, suspended_s
from tests.engine.world import in_virtual_time


def test_it_goes_on_while_the_host_is_suspended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker from before the suspend and one from after it read the same time."""
    asleep_s = [5.0]
    monkeypatch.setattr(module, "suspended_s", lambda: asleep_s[0])
    wall_s = [1_000.0]
    monkeypatch.setattr(time, "time", lambda: wall_s[0])

    async def main() -> None:
        before = Clock.of_this_host()
        assert before.now_s() == 1_000.0
        asleep_s[0] += 3_600.0
        wall_s[0] += 3_600.0
        assert before.now_s() == Clock.of_this_host().now_s() == 4_600.0
        await asyncio.sleep(1.0)
        assert before.now_s() == 4_601.0, "once, and not each time"

    in_virtual_time(main())


def test_on_a_host_that_was_not_suspended_it_is_the_loop_s() -> None:
    async def main() -> None:
        clock = Clock.of_this_host()
        began_s = clock.now_s()
        await asyncio.sleep(50.0)
        assert clock.now_s() == began_s + 50.0

    in_virtual_time(main())
    assert suspended_s() >= -0.001
