"""The hosts of a run (`kon run --join`), as its client sees them: on this machine, or, apart, on others,
which share nothing with this one but the backend."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kon.core.distribution import version
from kon.core.errors import BackendUnavailable, ConfigurationError, StoreError, WorkersDenied, WorkersFailed
from kon.core.lock import host_lock
from kon.engine.control import Control, HostRefusal, OtherKon, RightDenied
from kon.engine.records.records import RunFile
from kon.launch.liveness import GOING_S, NOT_ENDED, all_gone, any_runs_here

PAUSE_S: Final = 0.5
"""Between two looks at who is there, in seconds."""

FIRST_S: Final = 60.0
"""How long a client waits for the first host of this machine, in seconds."""

RETURN_S: Final = 30.0
"""How long it waits for one to come again, once all have gone, in seconds."""

REFUSALS_PAUSE_S: Final = 10.0
"""Between two looks at which hosts do not take part, in seconds."""


@dataclass(frozen=True)
class Hosts:
    """The hosts that a client waits for, as others start its workers (`kon join`).

    apart: they are on other machines, which share nothing with this one but the backend.
    """

    apart: bool = False


class JoinedHosts:
    """The hosts of one run.

    root: the folder of the runs, by whose locks hosts of this machine are seen.
    apart: they are on other machines. Nobody here sees whether one of these lives; what a dead one held comes
        again.
    begun: the run is gone on with, and hosts may have said something to an earlier client.
    """

    def __init__(
        self, root: Path, run: RunFile, note: Callable[[str], None], *, apart: bool, begun: bool = False
    ) -> None:
        self._root = root
        self._run = run
        self._spec = run.spec
        self._note = note
        self._apart = apart
        self._begun = begun
        self._numbers = range(1, run.spec.workers + 1)
        self._kon = version()

    async def check(self, control: Control) -> None:
        """Raises ConfigurationError where one can't take part, before anything is queued."""
        refusals = await control.refusals(self._numbers, self._kon)
        others = [each for each in refusals if isinstance(each, OtherKon)]
        if others:
            named = ", ".join(f"host {each.number} has {each.kon}" for each in others)
            raise ConfigurationError(
                f"run {self._spec.run}: this is kon {self._kon}, and {named}: they do not take part, and "
                "nothing was queued. Install this kon there (playbooks/configure.yml), and start again"
            )

    @asynccontextmanager
    async def at_work(self, control: Control) -> AsyncIterator[None]:
        """Within it they work on the run; leaving it waits until they have ended.

        Raises WorkersFailed when none of this machine is there any more, WorkersDenied when none of all may
        do what its workers have to.
        """
        await control.publish(self._run.worker_spec, self._kon, self._run.begun_s)
        async with asyncio.TaskGroup() as group:
            watching = [group.create_task(self._tell_of_refusals(control))]
            if not self._apart:
                watching.append(group.create_task(self._watch(control)))
            try:
                yield
            finally:
                for each in watching:
                    each.cancel()
        await self._ended(control)

    async def _watch(self, control: Control) -> None:
        """Raise WorkersFailed when no host and no worker is there any more to work on the run."""
        locks = [host_lock(self._root, number) for number in self._numbers]
        now_s = asyncio.get_running_loop().time
        give_up_s, wait_s = now_s() + FIRST_S, FIRST_S
        while now_s() < give_up_s:
            with suppress(BackendUnavailable):  # the client is patient, too, and says for how long
                if any(lock.is_held() for lock in locks) or any_runs_here(await control.workers()):
                    give_up_s, wait_s = now_s() + RETURN_S, RETURN_S
            await asyncio.sleep(PAUSE_S)
        raise WorkersFailed(
            f"no host has been at work for {wait_s:.0f} s, and without one nothing goes on. What is recorded "
            "stays, and what is queued goes on when `kon run --join` and `kon join` are started again"
        )

    async def _ended(self, control: Control) -> None:
        if not self._apart:
            if not await all_gone(control, self._spec.drain_s):
                self._note(NOT_ENDED)
            return
        give_up_s = asyncio.get_running_loop().time() + self._spec.drain_s + GOING_S
        while asyncio.get_running_loop().time() <= give_up_s:  # hosts read its tables, which are about to go
            with suppress(BackendUnavailable):  # the run is over, whoever can tell
                if not await control.hosts_at_work(self._numbers):
                    return
            await asyncio.sleep(PAUSE_S)

    async def _tell_of_refusals(self, control: Control) -> None:
        """Hosts that come later, or to a run that is gone on with, are named: others may do its work."""
        told: set[int] = set()
        # what one said to an earlier client may have been mended since: whether it was, the next look tells
        before = await self._refusals(control) if self._begun else []
        earlier = [each for each in before if isinstance(each, RightDenied)]
        while True:
            await asyncio.sleep(REFUSALS_PAUSE_S)
            now = [each for each in await self._refusals(control) if each not in earlier]
            for each in now:
                if each.number not in told:
                    self._note(f"host {each.number} does not take part: {each.why}")
                told.add(each.number)
            denied = [each for each in now if isinstance(each, RightDenied)]
            if len(denied) == len(self._numbers):
                raise WorkersDenied(f"no host of {self._spec.run} can take part. {denied[0].why}")

    async def _refusals(self, control: Control) -> list[HostRefusal]:
        with suppress(BackendUnavailable, StoreError):  # whoever needs the backend says so
            return await control.refusals(self._numbers, self._kon)
        return []
