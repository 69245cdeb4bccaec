"""What a case of the suite stands on: a run of its own on one backend."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec
import pytest

from kon.core.backend import Backend, Channel, ChannelOptions
from kon.core.queue import Delivery, Message, Queue
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


def run_abreast(world: World, request: pytest.FixtureRequest) -> None:
    """The outcome of this test's case. The first test that asks has those after it run as well, several at a
    time, as most of what they do is to wait."""
    outcomes = request.session.stash.setdefault(_OUTCOMES, {})
    if request.node.nodeid not in outcomes:
        batch = _batch_from(request.node, request.session.items)
        world.run(_run_all(world, batch, request.getfixturevalue("tmp_path_factory"), outcomes))
    error = outcomes[request.node.nodeid]
    if error is not None:
        raise error


_OUTCOMES: Final = pytest.StashKey[dict[str, BaseException | None]]()

_BATCH: Final = 12
"""Cases that are run together. No process of pytest-xdist's can tell which of them another has taken over:
so few at most are run by both."""


def world_of(item: pytest.Item) -> World | None:
    """The world that a test's case is in; None for other tests than the suite's."""
    if not isinstance(item, pytest.Function) or not hasattr(item.function, "whole"):
        return None
    world = item.callspec.params["world"]
    assert isinstance(world, World)
    return world


def _batch_from(first: pytest.Item, items: Sequence[pytest.Item]) -> list[pytest.Function]:
    world, later = world_of(first), items[items.index(first) :]
    alike = (each for each in later if isinstance(each, pytest.Function) and world_of(each) is world)
    return list(itertools.islice(alike, _BATCH))


async def _run_all(
    world: World,
    items: Sequence[pytest.Function],
    folders: pytest.TempPathFactory,
    outcomes: dict[str, BaseException | None],
) -> None:
    room = asyncio.Semaphore(world.abreast)

    async def run(item: pytest.Function) -> None:
        async with room:
            outcome: BaseException | None = None
            try:
                await item.function.whole(world, folders.mktemp("case"))
            except (Exception, pytest.skip.Exception, pytest.fail.Exception) as error:
                outcome = error
            outcomes[item.nodeid] = outcome

    await asyncio.gather(*map(run, items))


def agrees(queue: Queue, verdicts: Sequence[bool], wanted: Sequence[bool]) -> bool:
    """Whether an ack or an extend said what it should. On stale handles a queue that declares so may say
    anything."""
    silent = queue.limits.silent_acks
    return [
        want if silent and not want else got for got, want in zip(verdicts, wanted, strict=True)
    ] == wanted


def once_each(bed: Bed, deliveries: Sequence[Delivery]) -> list[Delivery]:
    """The deliveries, of messages with different bodies: none of them twice, or where the world's queue may
    do that (`World.twice`), the later of the two, whose receipt handle counts."""
    latest = {delivery.body: delivery for delivery in deliveries}
    assert bed.world.twice or len(latest) == len(deliveries), sorted(each.body for each in deliveries)
    return list(latest.values())


Case = Callable[[Bed], Awaitable[None]]

_PARAMETERS: Final = [
    pytest.param(world, id=name, marks=getattr(pytest.mark, world.mark) if world.mark else ())
    for name, world in WORLDS.items()
]


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

        @pytest.mark.parametrize("world", _PARAMETERS)
        def test(world: World, tmp_path: Path, request: pytest.FixtureRequest) -> None:
            if world.fixture is not None:
                request.getfixturevalue(world.fixture)
            if world.abreast == 1:
                world.run(whole(world, tmp_path))
            else:
                run_abreast(world, request)

        test.whole = whole  # type: ignore[attr-defined]
        test.__name__ = body.__name__
        test.__doc__ = body.__doc__
        return test

    return decorate


def messages(*bodies: bytes, delay_s: float = 0.0) -> list[Message]:
    return [Message(body, delay_s) for body in bodies]


def needs_delays(queue: Queue) -> None:
    if not queue.limits.max_delay_s:
        pytest.skip("declared: messages can't be delayed")


async def received(queue: Queue, most: int = 10, wait_s: float = 0.0) -> list[bytes]:
    """The bodies of one receive, sorted: no queue promises an order."""
    return sorted(delivery.body for delivery in await queue.receive(most, wait_s))
