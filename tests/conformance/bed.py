"""What a case of the suite stands on: a run of its own on one backend."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from kon.backend import Backend, Channel, ChannelOptions
from kon.queue import Message, Queue
from tests.conformance.worlds import WORLDS, World

RUN = "conformance"
LONG_S = 30.0  # a visibility timeout that no case waits for


class Bed(msgspec.Struct, frozen=True):
    """One run, made and open. `tick_s`: see World."""

    world: World
    folder: Path
    backend: Backend
    channel: Channel

    @property
    def tick_s(self) -> float:
        return self.world.tick_s

    @property
    def tasks(self) -> Queue:
        return self.channel.tasks


Case = Callable[[Bed], Awaitable[None]]


def case(visibility: float | None = None, max_receives: int = 3) -> Callable[[Case], Callable[..., None]]:
    """Makes a test of a coroutine function: once for each world, on a fresh run.

    visibility: the run's visibility timeout in ticks of the world; None for one that nobody outlasts.
    """

    def decorate(body: Case) -> Callable[..., None]:
        async def whole(world: World, folder: Path) -> None:
            backend = world.make(folder)
            visibility_s = LONG_S if visibility is None else visibility * world.tick_s
            await backend.create(RUN, ChannelOptions(visibility_s, max_receives))
            try:
                await body(Bed(world, folder, backend, await backend.open(RUN)))
            finally:
                await backend.delete(RUN)
                await backend.close()

        @pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
        def test(world: World, tmp_path: Path, request: pytest.FixtureRequest) -> None:
            if world.fixture is not None:
                request.getfixturevalue(world.fixture)
            world.run(whole(world, tmp_path))

        test.__name__ = body.__name__
        test.__doc__ = body.__doc__
        return test

    return decorate


def messages(*bodies: bytes, delay_s: float = 0.0) -> list[Message]:
    return [Message(body, delay_s) for body in bodies]


async def received(queue: Queue, most: int = 10, wait_s: float = 0.0) -> list[bytes]:
    """The bodies of one receive, sorted: no queue promises an order."""
    return sorted(delivery.body for delivery in await queue.receive(most, wait_s))
