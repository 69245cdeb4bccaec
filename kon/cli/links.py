"""`kon results --links` and `--objects`: what tasks have stored, and how it is reached."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final

import msgspec

from kon.backends.aws.cold import ColdObject, ColdStore
from kon.backends.aws.objects import S3Objects, expiry_of
from kon.cli.output import note
from kon.core.errors import KonError, StoreError, counted, first_cause
from kon.core.task import task_id
from kon.engine.records.links import Link, LinkLog, later, links_of
from kon.engine.records.records import RunFolder
from kon.fleet.restore import is_at_amazon, keys_of, stored
from kon.report.read.reader import Standing

AT_ONCE: Final = 1_000
"""Links that are looked at together."""

USUAL_S: Final = 600.0
"""How long a fresh link is good for where its result does not say how long the first one was, in seconds."""


def link_lines(
    folder: RunFolder,
    outcomes: Iterable[Standing],
    now_s: Callable[[], float] = time.time,
    whole: bool = False,
) -> Iterator[str]:
    """The run's log of links: id, link, the time (UTC) until which it is good, and `poster` for a poster.
    A file: is for good.

    An expired link is signed again where its object can be reached; else the line says since when it is no
    longer good, and why there is no other. whole: these are all outcomes, so that links.tsv is written from
    them, with the fresh links.
    """
    rest, without, log = iter(outcomes), 0, LinkLog(folder)
    renewed, logged = log.read(), []
    while part := list(islice(rest, AT_ONCE)):
        linked = [(each, _links(each, renewed)) for each in part]
        without += sum(not links for _, links in linked)
        found = [(each, link) for each, links in linked for link in links]
        expired = [pair for pair in found if pair[1].until_s is not None and pair[1].until_s <= now_s()]
        fresh = dict(zip((link.place for _, link in expired), _renewed(folder, expired), strict=True))
        for _, link in found:
            made = fresh.get(link.place, link)
            if isinstance(made, str):
                yield "\t".join((task_id(folder.path.name, link.index), link.url, made))
            else:
                until = "" if made.until_s is None else _at(made.until_s)
                yield "\t".join((task_id(folder.path.name, made.index), made.url, until, made.name)).rstrip()
            logged.append(link if isinstance(made, str) else made)
    if whole and logged:
        try:
            log.write(logged)
        except StoreError as error:
            note(f"{error}; the links above are good all the same")
    if without:
        note(f"no link in the result of {counted(without, 'task')}")


def object_lines(folder: RunFolder) -> Iterator[str]:
    """Each object's key, size in bytes, storage class and state. Raises ConfigurationError."""
    for each in asyncio.run(_states(folder)):
        state = f"{each.state} {_at(each.until.timestamp())}" if each.until is not None else each.state
        yield "\t".join((each.key, str(each.size_bytes), each.storage_class, state))


async def _states(folder: RunFolder) -> list[ColdObject]:
    async with stored(folder) as (_, store):
        return [each async for each in store.states(keys_of(folder))]


# --- links ----------------------------------------------------------------------------------------------


def _links(each: Standing, renewed: Mapping[tuple[int, str], Link]) -> list[Link]:
    """The links of a result, or later ones that it has got since."""
    return [_latest(each, link, renewed) for link in links_of(each.outcome)]


def _latest(each: Standing, link: Link, renewed: Mapping[tuple[int, str], Link]) -> Link:
    key = "poster_url_until_s" if link.name else "url_until_s"
    if link.until_s is not None and key not in each.outcome.result:
        signed_s = expiry_of(link.url)  # an older record, which does not say
        link = link if signed_s is None else msgspec.structs.replace(link, until_s=signed_s)
    return later(link, renewed.get(link.place))


def _for_s(each: Standing) -> float | None:
    result: Any = each.outcome.result
    expires_s = result.get("url_expires_s")
    return float(expires_s) if isinstance(expires_s, int | float) else None


_Expired = Sequence[tuple[Standing, Link]]


def _renewed(folder: RunFolder, expired: _Expired) -> list[Link | str]:
    """Fresh links; for those that there are none for, why."""
    if not expired:
        return []
    if not is_at_amazon(folder):
        return [
            _stale(link, f"the backend {folder.read_run().spec.backend.name} makes no other")
            for _, link in expired
        ]
    return asyncio.run(_renew(folder, expired))


async def _renew(folder: RunFolder, expired: _Expired) -> list[Link | str]:
    try:
        async with stored(folder) as (objects, store), asyncio.TaskGroup() as group:
            fresh = [
                group.create_task(_fresh(folder.path.name, objects, store, each, link))
                for each, link in expired
            ]
        return [task.result() for task in fresh]
    except (KonError, BaseExceptionGroup) as error:
        cause = first_cause(error)
        if not isinstance(cause, KonError):
            raise
        return [_stale(link, str(cause)) for _, link in expired]


async def _fresh(run: str, objects: S3Objects, store: ColdStore, each: Standing, old: Link) -> Link | str:
    link = objects.link(old.url)
    if link is None:
        return _stale(old, "it is not a link to this run's store")
    state = await store.state_of(link.key)
    if state is None:
        return _stale(old, "the object is gone")
    if state.state in ("cold", "coming back"):
        return _stale(old, f"the object is {state.state}: kon restore {run}")
    url, until_s = await objects.signed(link.key, _for_s(each) or USUAL_S)
    return Link(old.index, url, until_s, old.name)


def _stale(link: Link, why: str) -> str:
    assert link.until_s is not None  # or it would not have expired
    return f"expired since {_at(link.until_s)}: {' '.join(why.split())}"


def _at(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(" ", "seconds")
