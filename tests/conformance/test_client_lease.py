"""What keeps a run to one client, on every control table: who holds the lease, and who takes it over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from kon.core.clock import Clock
from kon.core.errors import ClientReplaced, ConfigurationError
from kon.engine.client_lease import ClientLease, fenced
from kon.engine.control import Control, Holder
from tests.conformance.bed import Bed, case, messages, received

LASTS_S = 20.0


def lease(
    bed: Bed,
    name: str,
    alive: bool | None = None,
    lease_s: float = LASTS_S,
    on_note: Callable[[str], None] = lambda text: None,
) -> ClientLease:
    """A client of that name, which believes so of others."""
    clock = Clock.of_this_host()
    me = Holder(name, 7, name, clock.now_s())
    return ClientLease(
        Control(bed.channel.control),
        clock,
        me,
        name,
        is_alive=lambda other: alive,
        lease_s=lease_s,
        on_note=on_note,
    )


@case()
async def test_a_second_client_is_told_who_the_first_one_is(bed: Bed) -> None:
    await lease(bed, "ann").take()
    with pytest.raises(ConfigurationError, match=r"already: process 7 on ann, since 20\d\d-.* UTC"):
        await lease(bed, "bob", alive=True).take()


@case()
async def test_one_of_two_that_come_at_once_becomes_the_client(bed: Bed) -> None:
    ended = await asyncio.gather(
        *[lease(bed, name, alive=True).take() for name in ("ann", "bob", "cid")], return_exceptions=True
    )
    assert [each for each in ended if each is not None and not isinstance(each, ConfigurationError)] == []
    assert ended.count(None) == 1


@case()
async def test_one_that_has_ended_leaves_the_run_to_the_next(bed: Bed) -> None:
    first = lease(bed, "ann")
    await first.take()
    await first.give_up()
    await lease(bed, "bob", alive=True).take()


@case()
async def test_a_killed_client_of_this_host_is_taken_over_at_once_and_can_write_nothing_more(
    bed: Bed,
) -> None:
    first, second = lease(bed, "ann"), lease(bed, "bob", alive=False)
    await first.take()
    await second.take()
    with pytest.raises(ClientReplaced, match=r"process 7 on bob, .* has taken the run over"):
        await first._renew()
    await first.give_up()
    await second.check()
    await second._renew()


@case()
async def test_a_client_elsewhere_that_renews_keeps_the_run(bed: Bed) -> None:
    lease_s = 4 * max(bed.tick_s, 0.5)
    first, notes = lease(bed, "ann", lease_s=lease_s), list[str]()
    await first.take()
    async with asyncio.TaskGroup() as group:
        keeping = group.create_task(first.keep())
        with pytest.raises(ConfigurationError, match="already: process 7 on ann"):
            await lease(bed, "bob", lease_s=lease_s, on_note=notes.append).take()
        keeping.cancel()
    assert "process 7 on ann" in notes[0]
    await first.check()


@case()
async def test_a_client_elsewhere_that_does_not_renew_is_taken_over_when_its_lease_has_passed(
    bed: Bed,
) -> None:
    lease_s = 4 * max(bed.tick_s, 0.5)
    first, second = lease(bed, "ann", lease_s=lease_s), lease(bed, "bob", lease_s=lease_s)
    await first.take()
    began_s = asyncio.get_running_loop().time()
    await second.take()
    assert asyncio.get_running_loop().time() - began_s >= lease_s
    world = fenced(bed.channel, first)
    with pytest.raises(ClientReplaced):
        await world.tasks.send(messages(b"a"))
    with pytest.raises(ClientReplaced):
        await Control(world.control).submitted(3)
    await fenced(bed.channel, second).answers.send(messages(b"answer"))
    [delivery] = await world.answers.receive(1, 1.0)
    with pytest.raises(ClientReplaced):
        await world.answers.ack([delivery])
    await bed.channel.answers.extend([delivery], 0)
    assert await received(fenced(bed.channel, second).answers, wait_s=1.0) == [b"answer"], "it is not lost"
    assert await received(bed.channel.tasks) == []
    assert (await Control(bed.channel.control).read()).submitted == 0
