"""Making, opening and deleting runs."""

from __future__ import annotations

import asyncio

import pytest

from kon.core.backend import ChannelOptions
from kon.core.errors import ConfigurationError, StoreError
from kon.core.ledger import Record
from tests.conformance.bed import LONG_S, RUN, Bed, case, messages, received

SAME = ChannelOptions(LONG_S, 3)


@case()
async def test_creating_again_changes_nothing(bed: Bed) -> None:
    await bed.tasks.send(messages(b"a"))
    await bed.backend.create(RUN, SAME)
    assert await received(bed.tasks) == [b"a"]


@case()
async def test_creating_at_once_makes_one_run(bed: Bed) -> None:
    backends = [bed.world.make(bed.folder) if bed.backend.processes else bed.backend for _ in range(4)]
    await asyncio.gather(*[backend.create("another", SAME) for backend in backends])
    channels = [await backend.open("another") for backend in backends]
    await channels[0].tasks.send(messages(b"a"))
    assert await received(channels[-1].tasks) == [b"a"]
    for backend in backends:
        await backend.delete("another")
        await backend.close()


@case()
async def test_a_run_keeps_the_options_that_it_was_made_with(bed: Bed) -> None:
    for options in (ChannelOptions(LONG_S, 4), ChannelOptions(LONG_S + 1, 3)):
        with pytest.raises(ConfigurationError, match=f'"{RUN}" is there already'):
            await bed.backend.create(RUN, options)


@case()
async def test_options_that_no_queue_can_keep_are_refused(bed: Bed) -> None:
    for visibility_s in (0.0, -1.0, float("nan"), float("inf"), bed.tasks.limits.longest_hold_s + 1):
        with pytest.raises(ConfigurationError, match="visibility_s"):
            await bed.backend.create("another", ChannelOptions(visibility_s, 3))
    with pytest.raises(ConfigurationError, match="max_receives"):
        await bed.backend.create("another", ChannelOptions(LONG_S, 0))
    with pytest.raises(StoreError, match="another"):
        await bed.backend.open("another")


@case()
async def test_channels_of_one_run_share_everything(bed: Bed) -> None:
    other = await bed.backend.open(RUN)
    await bed.tasks.send(messages(b"a"))
    (delivery,) = await other.tasks.receive(10, 0.0)
    assert await bed.tasks.receive(10, 0.0) == []
    assert await bed.tasks.ack([delivery]) == [True]
    assert await other.ledger.insert_new([Record(1, "t")]) == [None]
    assert await bed.channel.ledger.insert_new([Record(1, "u")]) == [Record(1, "t")]
    (bed.folder / "given").write_bytes(b"content")
    await other.objects.put("key", bed.folder / "given")
    await bed.channel.objects.get("key", bed.folder / "got")
    assert (bed.folder / "got").read_bytes() == b"content"


@case()
async def test_runs_are_apart(bed: Bed) -> None:
    await bed.backend.create("another", SAME)
    other = await bed.backend.open("another")
    await bed.tasks.send(messages(b"a"))
    await bed.channel.ledger.insert_new([Record(1, "t")])
    assert await other.tasks.receive(10, 0.0) == []
    assert await other.ledger.insert_new([Record(1, "t")]) == [None]
    await bed.backend.delete("another")
    assert await received(bed.tasks) == [b"a"]


@case()
async def test_a_run_that_is_not_there_can_not_be_opened(bed: Bed) -> None:
    with pytest.raises(StoreError, match="never-made"):
        await bed.backend.open("never-made")


@case()
async def test_a_deleted_run_is_gone_and_can_be_made_anew(bed: Bed) -> None:
    await bed.tasks.send(messages(b"a"))
    await bed.channel.ledger.insert_new([Record(1, "t")])
    (bed.folder / "given").write_bytes(b"content")
    await bed.channel.objects.put("key", bed.folder / "given")
    await bed.backend.delete(RUN)
    await bed.backend.delete(RUN)
    with pytest.raises(StoreError, match=RUN):
        await bed.backend.open(RUN)
    await bed.backend.create(RUN, ChannelOptions(LONG_S, 5))
    channel = await bed.backend.open(RUN)
    assert await channel.tasks.receive(10, 0.0) == []
    assert await channel.ledger.scan(0, 10) == []
    with pytest.raises(KeyError):
        await channel.objects.url("key", 60.0)


@case()
async def test_what_a_kind_has_stored_outlives_its_run_where_that_is_asked_for(bed: Bed) -> None:
    (bed.folder / "given").write_bytes(b"content")
    await bed.channel.objects.put("key", bed.folder / "given")
    await bed.channel.ledger.insert_new([Record(1, "t")])
    await bed.backend.delete(RUN, keep_objects=True)
    with pytest.raises(StoreError, match=RUN):
        await bed.backend.open(RUN)
    await bed.backend.create(RUN, ChannelOptions(LONG_S, 5))
    channel = await bed.backend.open(RUN)
    assert await channel.ledger.scan(0, 10) == []
    await channel.objects.get("key", bed.folder / "back")
    assert (bed.folder / "back").read_bytes() == b"content"


@case()
async def test_names_that_are_no_folders_are_refused(bed: Bed) -> None:
    for run in ("", ".", "..", "a/b", "../a", "a\\b", "a\0b"):
        with pytest.raises(ConfigurationError, match="name of a folder"):
            await bed.backend.create(run, SAME)


@case()
async def test_requests_are_counted(bed: Bed) -> None:
    before = bed.backend.requests
    await bed.tasks.send(messages(b"a", b"b"))
    held = await bed.tasks.receive(10, 0.0)
    await bed.tasks.extend(held, 1.0)
    await bed.tasks.ack(held)
    await bed.channel.ledger.insert_new([Record(1, "t")])
    await bed.channel.ledger.replace([Record(1, "u")], ["t"])
    await bed.channel.control.scan(0, 10)
    assert bed.backend.requests == before + 7
