"""A bucket and a folder for tests of the object store."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

from kon.backends.emulator import Emulator
from tests.backends.aws.given import Bucket, bucket

MIB: Final = 1 << 20
PART_BYTES: Final = 5 * MIB  # the least that S3 takes
LARGE: Final = random.Random(1).randbytes(5 * PART_BYTES + 1)

Test = Callable[[Bucket, Path], Coroutine[Any, Any, None]]


def on_a_bucket(body: Test) -> Callable[[Emulator, Path], None]:
    """Makes a test of a coroutine function: on a bucket and in a folder of its own."""

    def test(on_ministack: Emulator, tmp_path: Path) -> None:
        async def whole() -> None:
            async with bucket() as place:
                await body(place, tmp_path)

        asyncio.run(whole())

    test.__name__ = body.__name__
    test.__doc__ = body.__doc__
    return test


def file(folder: Path, content: bytes = LARGE) -> Path:
    path = folder / "given"
    path.write_bytes(content)
    return path
