"""Threads for what takes time: decoding, encoding, writing. The event loop goes on meanwhile.

PyAV and Pillow let go of Python's lock while they work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

_Given = ParamSpec("_Given")
_Made = TypeVar("_Made")


class Crew:
    """Some threads, for one worker."""

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="kon-animoto")

    async def do(self, work: Callable[_Given, _Made], *args: _Given.args, **kwargs: _Given.kwargs) -> _Made:
        """What `work` returns. Cancelled, it first waits for work that has begun: nothing goes on unseen."""
        job = self._pool.submit(work, *args, **kwargs)
        try:
            return await asyncio.wrap_future(job)
        except asyncio.CancelledError:
            job.cancel()
            while not job.done():
                ended = asyncio.get_running_loop().create_future()
                job.add_done_callback(_tell(ended))
                try:
                    await ended
                except asyncio.CancelledError:
                    continue
            raise

    async def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)


def _tell(ended: asyncio.Future[None]) -> Callable[[object], None]:
    loop = ended.get_loop()

    def set_result() -> None:
        if not ended.done():
            ended.set_result(None)

    def tell(_: object) -> None:
        loop.call_soon_threadsafe(set_result)

    return tell
