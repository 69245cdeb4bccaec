"""What tests of processes share: each way to wait for one, a start, and a stop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from kon.kinds.spawn import Finished, Spawner, have_pidfd
from tests.kinds.running import LIMIT_S, nothing_left

_Result = TypeVar("_Result")

# where this system has no pidfds there is one way to wait for a process, and it is tested
both_ways = pytest.mark.parametrize(
    "use_pidfd", [True, False] if have_pidfd() else [False], ids=lambda use: "pidfd" if use else "thread"
)


def run(
    use_pidfd: bool,
    use: Callable[[Spawner], Awaitable[_Result]],
    *,
    kill_grace_s: float = LIMIT_S,
    max_output_bytes: int = 1_000,
    patience_s: float = 0.0,
) -> _Result:
    async def main() -> _Result:
        spawner = Spawner(
            max_output_bytes=max_output_bytes,
            kill_grace_s=kill_grace_s,
            use_pidfd=use_pidfd,
            patience_s=patience_s,
        )
        try:
            async with asyncio.timeout(LIMIT_S):
                return await use(spawner)
        finally:
            spawner.close()

    with nothing_left():
        return asyncio.run(main())


def start(spawner: Spawner, script: str, **variables: str | Path) -> asyncio.Task[Finished]:
    env = {b"PATH": b"/usr/bin:/bin", **{name.encode(): os.fsencode(v) for name, v in variables.items()}}
    return asyncio.create_task(spawner.run(["/bin/sh", "-c", script], env))


async def cancelled(task: asyncio.Task[Finished]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
