"""The workers of a run that others start (`kon run --join`), as its client sees them: hosts of this machine,
or, apart, of other machines, which share nothing with this one but the backend."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Final, Protocol

from kon.core.errors import BackendUnavailable, ConfigurationError, StoreError, WorkersFailed
from kon.core.lock import host_lock
from kon.core.spec import RunSpec
from kon.engine.control import Control
from kon.engine.records.records import RunFile
from kon.launch.liveness import GOING_S, NOT_ENDED, all_gone, any_runs_here

LOOK_S: Final = 0.5
"""Between two looks at who is there, in seconds."""

FIRST_S: Final = 60.0
"""How long a client waits for the first host, in seconds."""

RETURN_S: Final = 30.0
"""How long it waits for one to come again, once all have gone, in seconds."""

APART_POLL_S: Final = 0.5
"""Between two looks at whether hosts elsewhere have ended, in seconds."""

REFUSALS_S: Final = 10.0
"""Between two looks at whether hosts elsewhere have another kon, in seconds."""


async def watch_hosts(root: Path, hosts: int, any_worker_left: Callable[[], Awaitable[bool]]) -> None:
    """Return never: raise WorkersFailed when no host and no worker is there any more to work on a run."""
    locks = [host_lock(root, number) for number in range(1, hosts + 1)]
    now_s = asyncio.get_running_loop().time
    give_up_s, wait_s = now_s() + FIRST_S, FIRST_S
    while now_s() < give_up_s:
        if any(lock.is_held() for lock in locks) or await any_worker_left():
            give_up_s, wait_s = now_s() + RETURN_S, RETURN_S
        await asyncio.sleep(LOOK_S)
    raise WorkersFailed(
        f"no host has been at work for {wait_s:.0f} s, and without one nothing goes on. What is recorded "
        "stays, and what is queued goes on when `kon run --join` and `kon host` are started again"
    )


class Hosts(Protocol):
    """Those of one run."""

    async def check(self, control: Control) -> None:
        """Raises ConfigurationError where one can't take part, before anything is queued."""

    def at_work(self, control: Control) -> AbstractAsyncContextManager[None]:
        """Within it they work on the run; return when they have ended."""


class HostsHere:
    """root: the folder of the runs, by which both sides know of each other."""

    def __init__(self, root: Path, spec: RunSpec, note: Callable[[str], None]) -> None:
        self._root = root
        self._spec = spec
        self._note = note

    async def check(self, control: Control) -> None:
        """They have the client's own kon."""

    @asynccontextmanager
    async def at_work(self, control: Control) -> AsyncIterator[None]:
        """Raises WorkersFailed when none is there any more."""

        async def any_worker_left() -> bool:
            return any_runs_here(await control.workers())

        async with asyncio.TaskGroup() as group:
            watch = group.create_task(watch_hosts(self._root, self._spec.workers, any_worker_left))
            yield
            watch.cancel()
        if not await all_gone(control, self._spec.drain_s):
            self._note(NOT_ENDED)


class HostsApart:
    """Nobody here can see whether a host of another machine lives; what a dead one held comes again."""

    def __init__(self, run: RunFile, note: Callable[[str], None]) -> None:
        self._run = run
        self._spec = run.spec
        self._note = note
        self._numbers = range(1, run.spec.workers + 1)
        self._kon = version("kon")

    async def check(self, control: Control) -> None:
        refusals = await control.refusals(self._numbers, self._kon)
        if refusals:
            named = ", ".join(f"host {each.number} has {each.kon}" for each in refusals)
            raise ConfigurationError(
                f"run {self._spec.run}: this is kon {self._kon}, and {named}: they do not take part, and "
                "nothing was queued. Install this kon there (playbooks/configure.yml), and start again"
            )

    @asynccontextmanager
    async def at_work(self, control: Control) -> AsyncIterator[None]:
        await control.publish(self._run.worker_spec, self._kon, self._run.begun_s)
        telling = asyncio.create_task(self._tell_of_refusals(control))
        try:
            yield
        finally:
            telling.cancel()
            await asyncio.wait({telling})
        give_up_s = asyncio.get_running_loop().time() + self._spec.drain_s + GOING_S
        while await control.hosts_at_work(self._numbers):  # they read its tables, which are about to go
            if asyncio.get_running_loop().time() > give_up_s:
                return
            await asyncio.sleep(APART_POLL_S)

    async def _tell_of_refusals(self, control: Control) -> None:
        """Hosts that come later, or to a run that is gone on with, are told of: others may do its work."""
        told: set[int] = set()
        while True:
            await asyncio.sleep(REFUSALS_S)
            with suppress(BackendUnavailable, StoreError):  # whoever needs the backend says so
                for each in await control.refusals(self._numbers, self._kon):
                    if each.number not in told:
                        self._note(f"host {each.number} has kon {each.kon}, and does not take part")
                    told.add(each.number)
