"""`kon results --links` and `--objects`: what tasks have stored, and how it is reached."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final

from kon.backends.aws.cold import ColdStore, Stored
from kon.backends.aws.links import expiry_of
from kon.backends.aws.objects import S3Objects
from kon.cli.output import note
from kon.core.errors import KonError, first_cause
from kon.core.task import task_id
from kon.engine.records.records import RunFolder
from kon.fleet.restore import is_at_amazon, keys_of, stored
from kon.report.read.reader import Standing

AT_ONCE: Final = 1_000
"""Links that are looked at together."""

USUAL_S: Final = 600.0
"""How long a fresh link is good for where its result does not say how long the first one was, in seconds."""


def link_lines(
    folder: RunFolder, outcomes: Iterable[Standing], now_s: Callable[[], float] = time.time
) -> Iterator[str]:
    """The run's log of links: id, link, and the time (UTC) until which it is good; a file: is for good.

    An expired link is signed again where its object can be reached; else the line says since when it is no
    longer good, and why there is no other.
    """
    rest, without = iter(outcomes), 0
    while part := list(islice(rest, AT_ONCE)):
        linked = [each for each in part if _url(each) is not None]
        without += len(part) - len(linked)
        expired = [each for each in linked if (until_s := _until_s(each)) is not None and until_s <= now_s()]
        fresh = dict(zip((each.outcome.index for each in expired), _renewed(folder, expired), strict=True))
        for each in linked:
            told = fresh.get(each.outcome.index, _as_it_is(each))
            yield "\t".join((task_id(folder.path.name, each.outcome.index), *told)).rstrip()
    if without:
        note(f"{without:,} tasks have no link in their result")


def object_lines(folder: RunFolder) -> Iterator[str]:
    """Each object's key, size in bytes, storage class and state. Raises ConfigurationError."""
    for each in asyncio.run(_states(folder)):
        state = f"{each.state} {_at(each.until.timestamp())}" if each.until is not None else each.state
        yield "\t".join((each.key, str(each.size_bytes), each.storage_class, state))


async def _states(folder: RunFolder) -> list[Stored]:
    async with stored(folder) as (_, store):
        return [each async for each in store.states(keys_of(folder))]


# --- links ----------------------------------------------------------------------------------------------


def _url(each: Standing) -> str | None:
    result = each.outcome.result
    url = result.get("url") if isinstance(result, dict) else None
    return url if isinstance(url, str) else None


def _for_s(each: Standing) -> float | None:
    result: Any = each.outcome.result
    expires_s = result.get("url_expires_s")
    return float(expires_s) if isinstance(expires_s, int | float) else None


def _until_s(each: Standing) -> float | None:
    """Until when its link is good, in seconds since the epoch; None for good, or where nobody says."""
    url, expires_s = _url(each) or "", _for_s(each)
    if url.startswith("file:"):
        return None
    signed_s = expiry_of(url)
    if signed_s is not None:
        return signed_s
    # the link was made just before the task ended
    return None if expires_s is None else each.outcome.ended_s + expires_s


def _as_it_is(each: Standing) -> tuple[str, str]:
    until_s = _until_s(each)
    return _url(each) or "", "" if until_s is None else _at(until_s)


def _renewed(folder: RunFolder, expired: list[Standing]) -> list[tuple[str, str]]:
    if not expired:
        return []
    if not is_at_amazon(folder):
        return [
            _stale(each, f"the backend {folder.read_run().spec.backend.name} makes no other")
            for each in expired
        ]
    return asyncio.run(_renew(folder, expired))


async def _renew(folder: RunFolder, expired: list[Standing]) -> list[tuple[str, str]]:
    try:
        async with stored(folder) as (objects, store), asyncio.TaskGroup() as group:
            fresh = [group.create_task(_fresh(folder.path.name, objects, store, each)) for each in expired]
        return [task.result() for task in fresh]
    except (KonError, BaseExceptionGroup) as error:
        cause = first_cause(error)
        if not isinstance(cause, KonError):
            raise
        return [_stale(each, str(cause)) for each in expired]


async def _fresh(run: str, objects: S3Objects, store: ColdStore, each: Standing) -> tuple[str, str]:
    link = objects.link(_url(each) or "")
    if link is None:
        return _stale(each, "it is not a link to this run's store")
    state = await store.state_of(link.key)
    if state is None:
        return _stale(each, "the object is gone")
    if state.state in ("cold", "coming back"):
        return _stale(each, f"the object is {state.state}: kon restore {run}")
    made = await objects.url(link.key, _for_s(each) or USUAL_S)
    return made, _at(expiry_of(made) or 0.0)


def _stale(each: Standing, why: str) -> tuple[str, str]:
    until_s = _until_s(each)
    assert until_s is not None  # or it would not have expired
    return _url(each) or "", f"expired since {_at(until_s)}: {' '.join(why.split())}"


def _at(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(" ", "seconds")
