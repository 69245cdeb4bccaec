"""What jobs share: memory that is bounded, and threads whose work is waited for."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from kon.kinds.pictures.crew import Crew
from kon.kinds.video import filming
from kon.kinds.video.room import Room
from tests.kinds.video.given import encoded, photo, run
from tests.kinds.video.studio import made


def test_work_in_a_thread_is_waited_for_when_its_job_is_cancelled() -> None:
    async def main() -> None:
        crew = Crew(1)
        began, go_on, ended = threading.Event(), threading.Event(), threading.Event()

        def work() -> None:
            began.set()
            go_on.wait()
            ended.set()

        task = asyncio.create_task(crew.do(work))
        while not began.is_set():  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()  # a second time: it waits all the same
        await asyncio.sleep(0)
        assert not task.done()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended.is_set()
        await crew.close()

    run(main())


def test_room_is_bounded_and_the_first_image_never_waits() -> None:
    async def main() -> None:
        room = Room(100)
        order: list[str] = []

        async def later() -> None:
            async with room.image(1):
                await room.hold(1, 60)
                order.append("later has 60")
                await room.hold(1, 90)
                order.append("later has 90")

        async def first() -> None:
            async with room.image(0):
                await room.hold(0, 30)
                while "later has 60" not in order:  # noqa: ASYNC110
                    await asyncio.sleep(0)
                for _ in range(5):
                    await asyncio.sleep(0)
                assert order == ["later has 60"]
                await room.hold(0, 500)
                order.append("the first has 500")

        await asyncio.gather(first(), later())
        assert order == ["later has 60", "the first has 500", "later has 90"]
        assert room.most_bytes == 560

    run(main())


def test_where_nobody_waits_for_another_the_first_image_waits_for_room_too_and_a_large_one_is_alone() -> None:
    room, order = Room(100, first_waits=True), []

    async def hold(number: int, size_bytes: int, until: asyncio.Event) -> None:
        async with room.image(number):
            await room.hold(number, size_bytes)
            order.append(number)
            await until.wait()

    async def main() -> None:
        done = [asyncio.Event() for _ in range(3)]
        holders = []
        for number, size_bytes in ((2, 70), (0, 60), (1, 500)):
            holders.append(asyncio.create_task(hold(number, size_bytes, done[number])))
            for _ in range(5):
                await asyncio.sleep(0)
        assert order == [2]
        done[2].set()
        await holders[0]
        done[0].set()
        await holders[1]
        done[1].set()
        await holders[2]
        assert order == [2, 0, 1]
        assert room.most_bytes == 500

    run(main())


def test_memory_for_fetched_images_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filming, "FETCHED_BYTES", 300_000)
    rooms: list[Room] = []

    class Noted(Room):
        def __init__(self, size_bytes: int, *, first_waits: bool = False) -> None:
            super().__init__(size_bytes, first_waits=first_waits)
            rooms.append(self)

    monkeypatch.setattr(filming, "Room", Noted)
    image = encoded(photo(900, 700))
    pages = {f"{number}": image for number in range(20)}
    result, _ = made(tmp_path, list(pages), pages)
    assert result["images"] == 20
    # what is over is the first image's, which never waits
    assert rooms[0].most_bytes <= 300_000 + len(image) + 64 * 1024
