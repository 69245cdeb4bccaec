"""Files that are watched by an epoll of kon's own, or by the loop where there is none."""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import Callable

import pytest

from kon.kinds.readable import readable
from kon.kinds.spawn import Spawner
from tests.kinds.running import nothing_left


async def _turns() -> None:
    """Some rounds of the loop, in which it asks what can be read."""
    for _ in range(5):
        await asyncio.sleep(0)


def test_a_file_is_called_for_until_it_is_removed() -> None:
    async def main() -> None:
        watch, (ours, theirs) = readable(asyncio.get_running_loop()), os.pipe()
        read: list[bytes] = []
        watch.add(ours, lambda: read.append(os.read(ours, 1)))
        await _turns()
        assert read == []
        os.write(theirs, b"ab")
        await _turns()
        assert read == [b"a", b"b"]
        watch.remove(ours)
        os.write(theirs, b"c")
        await _turns()
        assert read == [b"a", b"b"]
        os.close(ours)
        os.close(theirs)

    asyncio.run(main())


def test_one_call_may_remove_the_other_file() -> None:
    """Both can be read; whichever is called first takes the other away."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        failures: list[dict[str, object]] = []
        loop.set_exception_handler(lambda _, context: failures.append(context))
        watch, pipes = readable(loop), [os.pipe(), os.pipe()]
        called: list[int] = []

        def of(at: int) -> Callable[[], None]:
            def call() -> None:
                called.append(at)
                for ours, _ in pipes:
                    watch.remove(ours)

            return call

        for at, (ours, theirs) in enumerate(pipes):
            watch.add(ours, of(at))
            os.write(theirs, b"x")
        await _turns()
        assert len(called) == 1
        assert failures == []
        for pipe in pipes:
            os.close(pipe[0])
            os.close(pipe[1])

    asyncio.run(main())


def test_a_loop_has_one_and_it_is_closed_with_the_loop() -> None:
    async def main() -> asyncio.AbstractEventLoop:
        loop = asyncio.get_running_loop()
        assert readable(loop) is readable(loop)
        return loop

    with nothing_left():
        loops = [asyncio.run(main()) for _ in range(2)]  # kept: nothing waits for their collection
    assert len({*loops}) == 2


@pytest.mark.parametrize("have_epoll", [True, False])
def test_commands_are_read_to_the_end_with_epoll_and_without(
    have_epoll: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        if not have_epoll:
            monkeypatch.delattr(select, "epoll")
        spawner = Spawner(max_output_bytes=1 << 20, kill_grace_s=1.0)
        words = ["/bin/sh", "-c", "printf out; printf err >&2; exit 3"]
        finished = await spawner.run(words, {})
        assert (finished.code, finished.stdout.text().text, finished.stderr.text().text) == (3, "out", "err")
        spawner.close()

    asyncio.run(main())
