"""The backends that the suite holds to one contract. A new one is one entry here."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from kon.backends.aws import AwsBackend
from kon.backends.memory import MemoryBackend
from kon.backends.sim.backend import SimBackend
from kon.backends.sim.latency import CALLS
from kon.backends.sim.loop import SimLoop, simulate
from kon.backends.sqlite import SqliteBackend
from kon.core.backend import Backend, Channel
from kon.engine.layout import FixedPages
from kon.engine.paged_ledger import PagedLedger


class World(msgspec.Struct, frozen=True):
    """A backend, and how cases are run on it.

    make: a backend object whose runs live in the folder, as far as they live in folders; two made
        with one folder see the same runs where `Backend.processes` is true.
    run: runs a case to its end, in virtual time where the backend allows for that.
    tick_s: the shortest visibility timeout that the cases wait for, in seconds: as short as the
        backend can keep and the machine is quick.
    fixture: what each of its cases needs around it, by pytest's name for it.
    abreast: so many cases may run at once, where most of their time is waiting.
    twice: its queue may deliver a message to each of two receives that overlap.
    mark: of its tests: "long" ones are left out by `make test`, "slow" ones by `make check` as well.
    """

    make: Callable[[Path], Backend]
    run: Callable[[Coroutine[Any, Any, None]], None]
    tick_s: float
    fixture: str | None = None
    abreast: int = 1
    twice: bool = False
    mark: Literal["long", "slow"] | None = None


def in_real_time(case: Coroutine[Any, Any, None]) -> None:
    asyncio.run(case)


def in_virtual_time(case: Coroutine[Any, Any, None]) -> None:
    simulate(case, SimLoop(limit_s=3_600.0))


def on_aws(folder: Path, **options: Any) -> AwsBackend:
    """Its runs are the folder's, by their names' prefix: emulators last for many cases."""
    prefix = f"t{hashlib.sha256(str(folder).encode()).hexdigest()[:15]}"
    return AwsBackend({"prefix": prefix, **options})


def in_pages(backend: Backend) -> Backend:
    """With rows that share those of its ledger, and outcomes that are soon too large for that."""
    plain = backend.open

    async def opened(run: str) -> Channel:
        channel = await plain(run)
        return msgspec.structs.replace(
            channel, ledger=PagedLedger(channel.ledger, f"w{next(_WRITERS)}", FixedPages(3), inline_bytes=16)
        )

    backend.open = opened  # type: ignore[method-assign]
    return backend


_WRITERS: Final = itertools.count()

SLOW: Final = {call: {"median_s": 0.005, "p99_s": 0.02} for call in CALLS}
"""Calls that take their time, so that they overlap."""

WORLDS: Final = {
    "memory": World(lambda folder: MemoryBackend({}), in_virtual_time, 1.0),
    "memory, real time": World(lambda folder: MemoryBackend({}), in_real_time, 0.02),
    "sim": World(lambda folder: SimBackend({}), in_virtual_time, 1.0),
    "sim, slow": World(lambda folder: SimBackend({"latency": SLOW}), in_virtual_time, 1.0),
    "sim, slow, in pages": World(
        lambda folder: in_pages(SimBackend({"latency": SLOW})), in_virtual_time, 1.0
    ),
    "sim, FIFO": World(lambda folder: SimBackend({"queue": "fifo"}), in_virtual_time, 1.0),
    "sqlite": World(lambda folder: SqliteBackend({"path": str(folder)}), in_real_time, 0.05),
    # SQS knows whole seconds only
    "aws, MiniStack": World(lambda folder: on_aws(folder), in_real_time, 1.0, "on_ministack", 8, mark="long"),
    # boto3's queue; the others' hot calls are made by the lean client (and boto3's DynamoDB in
    # tests/backends/aws/test_contract.py)
    "aws, MiniStack, FIFO, boto3": World(
        lambda folder: on_aws(folder, queue="fifo", ledger="s3", client="boto3"),
        in_real_time,
        1.0,
        "on_ministack",
        8,
        mark="long",
    ),
    # moto's BatchExecuteStatement is not Amazon's: docs/emulators.md
    "aws, moto": World(
        lambda folder: on_aws(folder, claims="single"),
        in_real_time,
        1.0,
        "on_moto",
        8,
        twice=True,
        mark="slow",  # as long as all others together, of the same code as on MiniStack
    ),
}
