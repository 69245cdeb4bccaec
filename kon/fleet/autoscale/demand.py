"""What there is to do for a fleet: its runs, found by their queues, and what is left of each.

A client at a machine without records of a run gets the run's description here, as the store has it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from kon.backends.aws import AwsBackend
from kon.backends.aws.resources import FoundRun
from kon.core.backend import Channel
from kon.core.distribution import version
from kon.core.errors import BackendRefused, ConfigurationError, StoreError, did_you_mean
from kon.core.plugins import open_backend
from kon.core.spec import Plugin, RunSpec
from kon.engine.control import Control
from kon.fleet.autoscale.policy import USUAL_TASK_S, Policy, work_s
from kon.fleet.thing import stem_of

SUBMITTING_S: Final = 300.0
"""What is announced and not queued yet is work to come, unless its client has done nothing for so long."""


class Left(msgspec.Struct, frozen=True):
    """What is left of one run. submitted: tasks that were ever queued."""

    run: str
    messages: int
    in_flight: int
    work_s: float
    submitted: int


class Demand:
    """Looks at all runs of a fleet. now_s: seconds since the epoch."""

    def __init__(self, fleet: str, region: str | None, policy: Policy, now_s: Callable[[], float]) -> None:
        self._options = {"prefix": stem_of(fleet), **({"region": region} if region else {})}
        self._finder = AwsBackend(self._options)
        self._backends: dict[str, AwsBackend] = {}
        self._channels: dict[str, Channel] = {}
        self._policy = policy
        self._now_s = now_s
        self._moved: dict[str, tuple[int, float]] = {}  # what was submitted, and since when it is so much

    async def look(self) -> list[Left]:
        """Raises BackendUnavailable or BackendRefused where Amazon does not say: then nothing is known."""
        found = await self._finder.found()
        names = {each.run for each in found}
        self._channels = {run: channel for run, channel in self._channels.items() if run in names}
        looked = [await self._look_at(each) for each in found]
        return [each for each in looked if each is not None]

    async def close(self) -> None:
        for backend in [self._finder, *self._backends.values()]:
            await backend.close()

    async def _look_at(self, found: FoundRun) -> Left | None:
        try:
            channel = self._channels.get(found.run) or await self._backend(found).open(found.run)
            depth = await channel.tasks.depth()
            control = Control(channel.control)
            state, spec = await control.read(), await _published(control)
        except BackendRefused:
            raise
        except StoreError:
            self._channels.pop(found.run, None)
            return None  # it is over and deleted, or only half made
        self._channels[found.run] = channel
        if await control.is_over():
            return Left(found.run, 0, 0, 0.0, state.submitted)
        unsubmitted = self._unsubmitted(found.run, spec, state.submitted)
        task_s = self._policy.task_s or USUAL_TASK_S
        bundle, lanes = 1.0, 1
        if spec is not None:
            bundle, lanes = spec.bundle or await control.tasks_per_message(), spec.processes * spec.slots
            if self._policy.task_s is None and spec.ideal_s:
                task_s = spec.ideal_s / spec.tasks
        left_s = work_s(depth.total, bundle, unsubmitted, task_s, lanes)
        return Left(found.run, depth.visible + depth.delayed, depth.in_flight, left_s, state.submitted)

    def _unsubmitted(self, run: str, spec: RunSpec | None, submitted: int) -> int:
        if spec is None:
            return 0
        before, since_s = self._moved.get(run, (-1, 0.0))
        if before != submitted:
            since_s = self._now_s()
            self._moved[run] = submitted, since_s
        return spec.tasks - submitted if self._now_s() - since_s < SUBMITTING_S else 0

    def _backend(self, found: FoundRun) -> AwsBackend:
        """One for each set of options, as its clients take a while to make."""
        key = msgspec.json.encode(found.options).decode()
        if key not in self._backends:
            self._backends[key] = AwsBackend(found.options)
        return self._backends[key]


async def _published(control: Control) -> RunSpec | None:
    """What the run is, where this kon can tell: one of another version may describe it otherwise."""
    return await control.published() if await control.published_by() == version() else None


_LOOKS: Final = 3
_PAUSE_S: Final = 1.0


async def published_run(fleet: str, run: str, region: str | None = None) -> tuple[RunSpec, float | None]:
    """What the run is, and when it began, in seconds since the epoch. region: None for the credentials' own.

    Raises ConfigurationError where the fleet has no such run, or another version of kon has begun it.
    """
    options = {"prefix": stem_of(fleet), **({"region": region} if region else {})}
    finder = AwsBackend(options)
    found: dict[str, Any] = {}
    try:
        for look in range(_LOOKS):  # a queue that is new is listed late
            if run not in found:
                await asyncio.sleep(_PAUSE_S if look else 0.0)
                found = {each.run: each.options for each in await finder.found()}
    finally:
        await finder.close()
    if run not in found:
        known = did_you_mean(run, set(found)) or f"; there is {', '.join(sorted(found)) or 'no run'}"
        raise ConfigurationError(f'the fleet {fleet} has no run "{run}" that is not over{known}')
    backend = open_backend(Plugin("aws", found[run]), Path())
    try:
        control = Control((await backend.open(run)).control)
        theirs = await control.published_by()
        spec = await control.published() if theirs == version() else None
        if spec is None:
            why = (
                f"kon {theirs} has begun it, and this is kon {version()}" if theirs else "nobody has begun it"
            )
            raise ConfigurationError(f"run {run}: {why}; it is left as it is")
        return spec, await control.begun_s()
    finally:
        await backend.close()
