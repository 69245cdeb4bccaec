"""What runs need at Amazon, made ahead of them and deleted after them (`kon up`, `kon down`).

A run makes what it needs by itself, and deletes it when it is over. To make it ahead lets workers be
there before the client; to delete it is for runs that were given up.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from kon.backends.aws import AwsBackend
from kon.backends.aws.resources import Resource
from kon.core.backend import ChannelOptions
from kon.core.errors import BackendRefused, KonError, StoreError, each_of
from kon.core.plugins import open_backend
from kon.core.spec import Plugin, RunSpec


class Needs(msgspec.Struct, frozen=True):
    """A run, and how its things are made."""

    run: str
    backend: Plugin
    channel: ChannelOptions


class Changes(msgspec.Struct, frozen=True):
    """before, after: the same things, and whether they were and are there.

    failures: what went wrong with single runs; the others were seen to. Where nobody could look afterwards,
    that is one of them, and `after` is what was seen before.
    """

    before: list[Resource]
    after: list[Resource]
    failures: list[KonError]

    @property
    def changed(self) -> bool:
        return [each.exists for each in self.before] != [each.exists for each in self.after]


def needs_of(spec: RunSpec) -> Needs:
    return Needs(spec.run, spec.backend, spec.channel_options)


async def described(needs: Sequence[Needs]) -> list[Resource]:
    """What these runs have at Amazon, each thing once, and whether it is there."""
    async with _opened(needs) as backends:
        return await _described(backends)


async def make(needs: Sequence[Needs]) -> Changes:
    """Make what is missing, of every run, even where another run fails."""

    async def one(run: tuple[Needs, AwsBackend]) -> None:
        await run[1].create(run[0].run, run[0].channel)

    return await _changed(needs, one)


async def remove(needs: Sequence[Needs], keep_objects: bool = False) -> Changes:
    """Delete what is there, of every run, even where another run fails.

    keep_objects: but for what tasks have stored.
    """

    async def one(run: tuple[Needs, AwsBackend]) -> None:
        await run[1].delete(run[0].run, keep_objects)

    return await _changed(needs, one)


async def _changed(
    needs: Sequence[Needs], change: Callable[[tuple[Needs, AwsBackend]], Awaitable[None]]
) -> Changes:
    async with _opened(needs) as backends:
        before = await _described(backends)
        failures = await each_of(backends, change, "run")
        try:
            after = await _described(backends)
        except KonError as error:
            if not failures:
                raise
            return Changes(before, before, [*failures, error])  # what went wrong before that is told too
        return Changes(before, after, failures)


async def queued(needs: Sequence[Needs]) -> dict[str, int]:
    """The runs that have messages at Amazon, tasks or answers, and about how many."""
    found: dict[str, int] = {}
    async with _opened(needs) as backends:
        for each, backend in backends:
            try:
                channel = await backend.open(each.run)
            except BackendRefused:
                raise
            except StoreError:
                continue  # it is not there
            for queue in (channel.tasks, channel.answers):
                depth = await queue.depth()
                waiting = depth.visible + depth.delayed + depth.in_flight
                if waiting:
                    found[each.run] = found.get(each.run, 0) + waiting
    return found


def own(resources: Iterable[Resource]) -> list[Resource]:
    """Those that belong to runs; a bucket is shared, and goes with the last of its prefix."""
    return [each for each in resources if each.kind != "bucket"]


async def _described(backends: Sequence[tuple[Needs, AwsBackend]]) -> list[Resource]:
    found = [resource for each, backend in backends for resource in await backend.describe(each.run)]
    return list({(each.service, each.kind, each.name): each for each in found}.values())


@asynccontextmanager
async def _opened(needs: Sequence[Needs]) -> AsyncIterator[list[tuple[Needs, AwsBackend]]]:
    """Each run with its backend; runs with the same options share one, as a client takes a while to make."""
    shared: list[tuple[Plugin, AwsBackend]] = []
    try:
        backends = []
        for each in needs:
            backend = next((found for plugin, found in shared if plugin == each.backend), None)
            if backend is None:
                made = open_backend(each.backend, Path())
                assert isinstance(made, AwsBackend)  # the caller has seen to that
                shared.append((each.backend, made))
                backend = made
            backends.append((each, backend))
        yield backends
    finally:
        for _, backend in shared:
            await backend.close()
