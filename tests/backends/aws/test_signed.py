"""Signed runs: what was not signed with the run's key is refused, told of and not run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from kon.backends.aws.signed import KEY, KEY_FILE, MAKE_A_KEY, signed, signing_key
from kon.backends.memory.backend import MemoryBackend
from kon.core.backend import Channel, ChannelOptions
from kon.core.errors import ConfigurationError, StoreError, first_cause
from kon.core.journal import MemoryJournal
from kon.core.ledger import Record
from kon.core.queue import Message
from kon.core.strategy import Strategy
from kon.core.task import Bundle, Outcome, State, Task, encode
from kon.engine.control import Control, Status
from kon.strategies.conditional_put import ConditionalPut
from kon.strategies.lease import Lease
from kon.strategies.read_then_write import ReadThenWrite
from kon.strategies.result_once import ResultOnce
from tests.engine.world import World, in_virtual_time

MINE: Final = bytes(range(32))
OTHER: Final = bytes(range(1, 33))


def on_a_channel(body: Callable[[Channel], Coroutine[Any, Any, None]]) -> None:
    async def whole() -> None:
        backend = MemoryBackend({})
        await backend.create("r", ChannelOptions())
        await body(await backend.open("r"))

    asyncio.run(whole())


def test_what_is_signed_comes_as_it_was_sent() -> None:
    async def body(channel: Channel) -> None:
        mine = signed(channel, "r", MINE)
        for queue in (mine.tasks, mine.answers, mine.dead):
            await queue.send([Message(b"[1]"), Message(b"")])
            assert sorted(each.body for each in await queue.receive(10, 0.0)) == [b"", b"[1]"]
        await mine.control.put([Record(7, "t", outcome=b"open")])
        assert await mine.control.read([7, 8]) == [Record(7, "t", outcome=b"open"), None]

    on_a_channel(body)


@pytest.mark.parametrize("forged", ["plain", "other key", "other queue", "changed", "short"])
def test_what_is_not_signed_is_no_task(forged: str) -> None:
    async def body(channel: Channel) -> None:
        mine = signed(channel, "r", MINE)
        task = encode(Bundle("r", [Task(0, "rm -rf /")]))
        if forged == "plain":
            await channel.tasks.send([Message(task)])
        elif forged == "other key":
            await signed(channel, "r", OTHER).tasks.send([Message(task)])
        elif forged == "other queue":
            await mine.answers.send([Message(task)])
            [delivery] = await channel.answers.receive(1, 0.0)
            await channel.tasks.send([Message(delivery.body)])
        elif forged == "changed":
            await mine.tasks.send([Message(task)])
            [delivery] = await channel.tasks.receive(1, 0.0)
            await channel.tasks.send([Message(delivery.body.replace(b"rm", b"mv"))])
        else:
            await channel.tasks.send([Message(b"[")])
        [delivery] = await mine.tasks.receive(1, 0.0)
        assert delivery.body.startswith(b"refused, as it is not signed with this run's key: ")

    on_a_channel(body)


@pytest.mark.parametrize("forged", ["plain", "other key", "other row"])
def test_a_changed_description_is_refused(forged: str) -> None:
    async def body(channel: Channel) -> None:
        mine = signed(channel, "r", MINE)
        await Control(mine.control).close(Status.PAUSED)
        assert (await Control(mine.control).read()).status is Status.PAUSED
        if forged == "other row":
            [row] = await channel.control.scan(0, 1)
            await channel.control.put([Record(1, row.token, outcome=row.outcome)])
        else:
            theirs = channel if forged == "plain" else signed(channel, "r", OTHER)
            await Control(theirs.control).submitted(5)
        with pytest.raises(StoreError, match="is not signed with the key of KON_SIGNING_KEY"):
            await Control(mine.control).read()

    on_a_channel(body)


@pytest.mark.parametrize("forged", ["plain", "other key", "other row", "other state", "other table"])
def test_a_forged_result_is_refused_wherever_a_strategy_meets_it(forged: str) -> None:
    """By each call that answers with a row: a strategy takes a result from any of them."""

    async def body(channel: Channel) -> None:
        mine = signed(channel, "r", MINE)
        row = Record(4, "t", State.FAILED, outcome=b"forged")
        if forged == "other key":
            await signed(channel, "r", OTHER).ledger.put([row])
        elif forged == "other table":
            await mine.control.put([row])
            await channel.ledger.put([each for each in await channel.control.scan(0, 9) if each.key == 4])
        elif forged == "other row":
            await mine.ledger.put([msgspec.structs.replace(row, key=5)])
            [true] = await channel.ledger.read([5])
            assert true is not None
            await channel.ledger.put([msgspec.structs.replace(true, key=4)])
        elif forged == "other state":
            await mine.ledger.put([row])
            [true] = await channel.ledger.read([4])
            assert true is not None
            await channel.ledger.put([msgspec.structs.replace(true, state=State.DONE)])
        else:
            await channel.ledger.put([row])
        claim = Record(4, "c")
        for call in (
            mine.ledger.read([4]),
            mine.ledger.insert_new([claim]),
            mine.ledger.replace([claim], ["c"]),
            mine.ledger.scan(0, 9),
        ):
            with pytest.raises(StoreError, match=r"row 4 of the run's strategy's table is not signed"):
                await call

    on_a_channel(body)


@pytest.mark.parametrize("strategy", [Lease, ResultOnce, ReadThenWrite, ConditionalPut])
def test_a_run_of_each_strategy_goes_by_signed_rows(strategy: type[Strategy]) -> None:
    async def main() -> None:
        world = await World.create(3)
        world.channel = signed(world.channel, "r", MINE)
        tally = await world.run([{"result": 1}, {"fail": 1}, {"s": 100.0}], world.worker(strategy=strategy))
        assert tally.counts[State.DONE] == 3

    in_virtual_time(main())


def test_no_forged_result_is_counted() -> None:
    """The forger knows the task and the run; the worker meets the row, ends with the reason, and answers
    nothing."""

    async def main() -> None:
        world = await World.create(1)
        outcome = encode(Outcome(0, 1, State.DONE, "forged"))
        await world.channel.ledger.put([Record(0, "t!", State.DONE, outcome=outcome)])
        world.channel = signed(world.channel, "r", MINE)
        client, worker = world.client(), world.worker()
        running = asyncio.create_task(client.run([{"result": "mine"}]))
        [ended] = await asyncio.gather(worker.run(), return_exceptions=True)
        assert ended is not None
        assert "is not signed with the key" in str(first_cause(ended))
        assert client.tally.left == 1
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    in_virtual_time(main())


def test_keys(tmp_path: Path) -> None:
    assert signing_key({}) is None
    assert signing_key({KEY: MINE.hex()}) == MINE
    (tmp_path / "kon.key").write_text(f"{MINE.hex()}\n")
    assert signing_key({KEY_FILE: str(tmp_path / "kon.key")}) == MINE
    for wrong in ({KEY: ""}, {KEY: "abc"}, {KEY: "zz" * 32}, {KEY: MINE.hex()[:-2]}):
        with pytest.raises(ConfigurationError, match="expected 64 hexadecimal digits or more") as error:
            signing_key(wrong)
        assert MAKE_A_KEY in str(error.value)
    with pytest.raises(ConfigurationError, match="can't be read"):
        signing_key({KEY_FILE: str(tmp_path / "none")})
    with pytest.raises(ConfigurationError, match="both set"):
        signing_key({KEY: MINE.hex(), KEY_FILE: str(tmp_path / "kon.key")})


def test_a_forged_task_is_told_of_and_not_run() -> None:
    async def main() -> None:
        world = await World.create(1)
        forged = encode(Bundle("r", [Task(0, {"result": "forged"})]))
        await world.channel.tasks.send([Message(forged)])
        world.channel = signed(world.channel, "r", MINE)
        client = world.client()
        kept = client._listener.unreadable
        assert isinstance(kept, MemoryJournal)
        worker = world.worker()
        async with asyncio.TaskGroup() as group:
            running = group.create_task(worker.run())
            tally = await client.run([{"result": "mine"}])
            while not kept.lines:  # it goes by the dead-letter queue
                await client._dead_letters()
                await asyncio.sleep(0.01)
            await client.close()
            worker.stop()
            await running
        assert tally.counts[State.DONE] == 1
        assert len(world.events("start")) == 1
        [line] = [msgspec.json.decode(line) for line in kept.lines]
        assert line["queue"] == "dead-letter queue"
        assert line["text"].startswith("refused, as it is not signed with this run's key: ")

    in_virtual_time(main())
