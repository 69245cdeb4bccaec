"""How many messages a worker asks for, where each request brings ten."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from kon.core.queue import Delivery
from kon.core.task import State
from kon.kinds.sleep import Sleep
from tests.engine.world import World, in_virtual_time


def asked(
    monkeypatch: pytest.MonkeyPatch, seconds: float, call_batch: int = 10, **settings: Any
) -> list[int]:
    """Of a run of a hundred tasks: what its receives asked for while there were messages."""
    sizes: list[int] = []

    async def main() -> None:
        world = await World.create(100, **settings)
        queue = world.channel.tasks
        receive = queue.receive

        async def noted(max_messages: int, wait_s: float) -> list[Delivery]:
            deliveries = await receive(max_messages, wait_s)
            if deliveries:
                sizes.append(max_messages)
            return deliveries

        monkeypatch.setattr(queue, "receive", noted)
        monkeypatch.setattr(queue, "limits", msgspec.structs.replace(queue.limits, call_batch=call_batch))
        tally = await world.run([seconds] * 100, world.worker(kind=Sleep({})))
        assert tally.counts[State.DONE] == 100

    in_virtual_time(main())
    return sizes


def test_no_request_is_made_for_the_odd_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(asked(monkeypatch, 0.0, prefetch=10)[1:]) == {10}  # the first is for the one slot alone
    assert 11 in asked(monkeypatch, 0.0, call_batch=1, prefetch=10)


def test_a_slot_that_would_stay_free_is_worth_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(asked(monkeypatch, 1.0, slots=12, prefetch=0)) == {12}
    assert set(asked(monkeypatch, 1.0, slots=4, prefetch=0)) == {4}


def test_fewer_than_a_request_brings_are_asked_for_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    assert max(asked(monkeypatch, 0.0, prefetch=3)) == 4


def test_in_bundles(monkeypatch: pytest.MonkeyPatch) -> None:
    assert max(asked(monkeypatch, 0.0, call_batch=3, bundle=5, prefetch=4)) == 3
