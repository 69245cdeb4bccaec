"""The lease of a run's one client, in virtual time: what calls that are slow, lost or denied do to it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from kon.core.errors import BackendDenied, BackendUnavailable, ClientReplaced, ConfigurationError
from kon.core.ledger import Record
from kon.core.queue import Message
from kon.engine.client_lease import PAUSE_S, RENEWALS, ClientLease, fenced
from kon.engine.control import Control, Holder
from tests.engine.world import World, in_virtual_time

LASTS_S = 30.0


def lease(
    world: World,
    name: str,
    alive: bool | None = None,
    on_note: Callable[[str], None] = lambda text: None,
) -> ClientLease:
    """A client of that name, which believes so of others."""
    return ClientLease(
        Control(world.channel.control),
        world.clock,
        Holder(name, 7, name, world.clock.now_s()),
        name,
        is_alive=lambda other: alive,
        lease_s=LASTS_S,
        on_note=on_note,
    )


def before_replace(world: World, first: Callable[[], Awaitable[None]]) -> None:
    """Do this once, just before the table replaces a row."""
    table, replace, due = world.channel.control, world.channel.control.replace, [first]

    async def later(records: Sequence[Record], if_tokens: Sequence[str]) -> list[Record | None]:
        while due:
            await due.pop()()
        return await replace(records, if_tokens)

    table.replace = later  # type: ignore[method-assign]


def test_a_first_call_that_takes_longer_than_a_lease_is_no_time_in_which_the_other_was_watched() -> None:
    async def main() -> None:
        world = await World.create()
        await (first := lease(world, "ann")).take()
        keeping = asyncio.create_task(first.keep())
        insert_new = world.channel.control.insert_new

        async def slow(records: Sequence[Record]) -> list[Record | None]:
            await asyncio.sleep(2 * LASTS_S)
            return await insert_new(records)

        world.channel.control.insert_new = slow  # type: ignore[method-assign]
        with pytest.raises(ConfigurationError, match="already: process 7 on ann"):
            await lease(world, "bob").take()
        assert not keeping.done()
        keeping.cancel()

    in_virtual_time(main())


def test_a_client_elsewhere_is_seen_to_be_at_work_as_soon_as_it_renews() -> None:
    async def main() -> None:
        world, notes = await World.create(), list[str]()
        await (first := lease(world, "ann")).take()
        keeping = asyncio.create_task(first.keep())
        began_s = asyncio.get_running_loop().time()
        with pytest.raises(ConfigurationError, match="already: process 7 on ann"):
            await lease(world, "bob", on_note=notes.append).take()
        assert asyncio.get_running_loop().time() - began_s <= LASTS_S / RENEWALS + PAUSE_S
        assert len(notes) == 1
        keeping.cancel()

    in_virtual_time(main())


def test_renewals_at_the_same_time_take_nothing_from_each_other() -> None:
    """Each write that only the client may do asks for one, once its lease may soon pass."""

    async def main() -> None:
        world = await World.create()
        await (first := lease(world, "ann")).take()
        replace = world.channel.control.replace

        async def slow(records: Sequence[Record], if_tokens: Sequence[str]) -> list[Record | None]:
            await asyncio.sleep(1.0)
            return await replace(records, if_tokens)

        world.channel.control.replace = slow  # type: ignore[method-assign]
        await asyncio.gather(*[first._renew() for _ in range(4)])
        assert not first.replaced

    in_virtual_time(main())


def test_one_that_ends_just_as_it_is_taken_over_leaves_the_run_to_the_next() -> None:
    async def main() -> None:
        world = await World.create()
        first, second = lease(world, "ann"), lease(world, "bob", alive=False)
        await first.take()
        before_replace(world, first.give_up)
        await second.take()
        assert (await Control(world.channel.control).client())[1] is not None
        await second._renew()

    in_virtual_time(main())


def test_a_client_whose_run_was_deleted_is_told_so() -> None:
    async def main() -> None:
        world = await World.create()
        await (first := lease(world, "ann")).take()
        await Control(world.channel.control).no_client(first._token)
        with pytest.raises(ClientReplaced, match="the run was deleted"):
            await first._renew()
        assert first.replaced

    in_virtual_time(main())


def test_a_renewal_whose_reply_was_lost_is_its_own() -> None:
    async def main() -> None:
        world = await World.create()
        await (first := lease(world, "ann")).take()
        table, replace = world.channel.control, world.channel.control.replace

        async def lost(records: Sequence[Record], if_tokens: Sequence[str]) -> list[Record | None]:
            table.replace = replace  # type: ignore[method-assign]
            await replace(records, if_tokens)
            raise BackendUnavailable("the reply was lost")

        table.replace = lost  # type: ignore[method-assign]
        with pytest.raises(BackendUnavailable):
            await first._renew()
        await asyncio.sleep(LASTS_S / 2)
        await first._renew()
        assert not first.replaced
        assert first.expires_s == world.clock.now_s() + LASTS_S

    in_virtual_time(main())


def test_a_denial_is_told_once_until_a_renewal_is_let_through() -> None:
    async def main() -> None:
        world = await World.create()
        notes: list[str] = []
        await (first := lease(world, "ann", on_note=notes.append)).take()
        table, replace = world.channel.control, world.channel.control.replace
        answers: list[Exception | None] = [
            *(BackendDenied("no"), BackendDenied("no"), BackendUnavailable("away"), BackendDenied("no")),
            *(None, BackendDenied("no")),
        ]

        async def denies(records: Sequence[Record], if_tokens: Sequence[str]) -> list[Record | None]:
            if answers and (error := answers.pop(0)) is not None:
                raise error
            return await replace(records, if_tokens)

        table.replace = denies  # type: ignore[method-assign]
        keeping = asyncio.create_task(first.keep())
        await asyncio.sleep(8 * LASTS_S / 3 + 1.0)
        assert not keeping.done()
        assert not answers
        keeping.cancel()
        assert notes == ["this client can't renew its hold on the run: no"] * 2

    in_virtual_time(main())


def test_what_the_holder_writes_is_written_and_looked_up_only_where_its_lease_may_soon_pass() -> None:
    async def main() -> None:
        world = await World.create()
        await (first := lease(world, "ann")).take()
        until_s = first.expires_s
        fence = fenced(world.channel, first)
        table = Control(fence.control)
        await table.submitted(3)
        assert (await table.read()).submitted == 3
        assert await fence.control.insert_new([Record(77, "new")]) == [None]
        await fence.answers.send([Message(b"answer")])
        assert await fence.answers.extend(await fence.answers.receive(1, 0.0), 5.0) == [True]
        await asyncio.sleep(LASTS_S * 2 / 3 - 0.5)
        await first.check()
        assert first.expires_s == until_s
        await asyncio.sleep(0.5)
        await first.check()
        assert first.expires_s > until_s

    in_virtual_time(main())


@pytest.mark.parametrize(("alive", "after_s"), [(True, LASTS_S), (None, 2 * LASTS_S)])
def test_a_lease_that_was_not_renewed_is_taken_over(alive: bool | None, after_s: float) -> None:
    """At once where it has passed by this host's clock, else when it was watched for as long as it lasts."""

    async def main() -> None:
        world = await World.create()
        await lease(world, "ann").take()
        await asyncio.sleep(LASTS_S + 0.1)
        began_s = asyncio.get_running_loop().time()
        await lease(world, "bob", alive=alive).take()
        took_s = asyncio.get_running_loop().time() - began_s
        assert LASTS_S + took_s == pytest.approx(after_s, abs=1.1)

    in_virtual_time(main())
