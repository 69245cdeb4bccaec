"""Asking a run's results back from cold storage, and waiting for them (`kon restore`)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from kon.backends.aws import AwsBackend
from kon.backends.aws.cold import ColdObject, ColdState, ColdStore, Tier
from kon.backends.aws.objects import S3Objects
from kon.core.errors import ConfigurationError
from kon.core.plugins import open_backend
from kon.engine.records.records import RunFolder

FIRST_LOOK_S: Final = 2.0
LONGEST_LOOK_S: Final = 120.0
"""Between two looks at what has come, in seconds: S3 takes minutes at least."""

AT_ONCE: Final = 100
"""Requests that are gathered before they are made."""


def is_at_amazon(folder: RunFolder) -> bool:
    return folder.read_run().spec.backend.name == AwsBackend.name


@asynccontextmanager
async def stored(folder: RunFolder) -> AsyncIterator[tuple[S3Objects, ColdStore]]:
    """What the tasks of a run have stored at Amazon. Raises ConfigurationError for another backend."""
    spec = folder.read_run().spec
    if not is_at_amazon(folder):
        raise ConfigurationError(
            f"the run {spec.run} has the backend {spec.backend.name}, which has no cold storage: what its "
            "tasks have stored is where it was"
        )
    backend = open_backend(spec.backend, Path())
    assert isinstance(backend, AwsBackend)
    try:
        yield await backend.stored(spec.run)
    finally:
        await backend.close()


def keys_of(folder: RunFolder) -> set[str] | None:
    """The objects that belong to a run alone; None for all of a store that is its own.

    In a store that runs share these are those that its results name.
    """
    if folder.read_run().spec.backend.options.get("objects") is None:
        return None
    return {key for _, outcome in folder.outcomes() for key in _keys_in(outcome.result)}


def _keys_in(result: Any) -> Iterator[str]:
    if isinstance(result, dict):
        for name, value in result.items():
            if name in ("key", "keys", "outputs"):
                yield from _texts(value)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)
    elif isinstance(value, dict):
        for each in value.values():
            yield from _texts(each)


async def restore(
    folder: RunFolder,
    days: int,
    tier: Tier,
    *,
    wait: bool = True,
    on_counts: Callable[[Counter[ColdState]], None] = lambda counts: None,
    sleep: Callable[[float], Any] = asyncio.sleep,
) -> Counter[ColdState]:
    """Ask all that is cold back; how many objects are in which state, in the end.

    wait: until none is on its way. on_counts: called after each look. What was asked for stays asked for,
    whatever becomes of this.
    """
    keys, look_s = keys_of(folder), FIRST_LOOK_S
    async with stored(folder) as (_, store):
        counts = await _ask(store, keys, days, tier)
        on_counts(counts)
        while wait and counts["coming back"]:
            await sleep(look_s)
            look_s = min(2 * look_s, LONGEST_LOOK_S)
            counts = Counter([each.state async for each in store.states(keys)])
            on_counts(counts)
        return counts


async def _ask(store: ColdStore, keys: set[str] | None, days: int, tier: Tier) -> Counter[ColdState]:
    counts: Counter[ColdState] = Counter()
    cold: list[ColdObject] = []

    async def ask_all() -> None:
        async with asyncio.TaskGroup() as group:
            for each in cold:
                group.create_task(store.restore(each.key, days, tier))
        counts["coming back"] += len(cold)
        cold.clear()

    async for each in store.states(keys):
        if each.state == "cold":
            cold.append(each)
        else:
            counts[each.state] += 1
        if len(cold) >= AT_ONCE:
            await ask_all()
    await ask_all()
    return counts
