"""A run on this machine as a program drives it: it can be cancelled, and taken up without its items."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

from kon.core.backend import Backend, Channel
from kon.core.errors import ConfigurationError
from kon.core.spec import RunSpec
from kon.engine.client import Tally
from kon.engine.control import Control, Status, WorkerState
from kon.launch.crew import Crew, WorkersHere
from kon.launch.local import LocalRun

_POLL_S: Final = 0.02

_APART_S: Final = 0.1
"""Between two SIGTERMs, of which the second ends a worker that drains: closer ones may arrive as one."""


class Queued:
    """The source of a run that was submitted before: there is nothing left to queue."""

    def bodies(self, workers: int) -> Iterable[Any]:
        return ()


class AttachedRun(LocalRun):
    """Its methods, like those of any run, are called on the event loop that it runs in."""

    _control: Control | None = None
    _is_cancelled = False

    async def submitted(self) -> None:
        """Return when every task is queued."""
        while self._control is None or (await self._control.read()).submitted < self.spec.tasks:  # noqa: ASYNC110 - the table alone tells
            await asyncio.sleep(_POLL_S)

    async def cancel(self, at_once: bool = False) -> None:
        """Start nothing more. What runs may go on for `drain_s`, unless it is to end `at_once`; then what
        is left is cancelled, and `run` returns."""
        first, self._is_cancelled = not self._is_cancelled, True
        while self._control is None:  # noqa: ASYNC110 - it has only just been started
            await asyncio.sleep(_POLL_S)
        self.stop_workers()
        if at_once:
            await asyncio.sleep(_APART_S)
            self.stop_workers()
        if not first:
            return  # the first call sees to the rest
        await self.workers_ended()
        await self._control.close(Status.CANCELLED)

    async def _collect(self, backend: Backend, channel: Channel) -> Tally:
        self._control = Control(channel.control)
        if isinstance(self._source, Queued) and not self._is_cancelled:
            await _check_queued(self.spec, self._control, str(self.folder.path.parent))
        return await super()._collect(backend, channel)

    async def _until_ready(self, control: Control) -> None:
        waiting = asyncio.create_task(super()._until_ready(control))
        while not waiting.done() and not self._is_cancelled:
            await asyncio.wait({waiting}, timeout=_POLL_S)
        waiting.cancel()

    def _make_crew(self, backend: Backend, channel: Channel, left: dict[str, list[WorkerState]]) -> Crew:
        if backend.processes:
            return super()._make_crew(backend, channel, left)
        return _WorkersHere(self.folder, self.folder.read_run().worker_spec, backend, channel)


class _WorkersHere(WorkersHere):
    """They share this process, which goes on after them: `ended` waits until they have drained."""

    async def run(self) -> None:
        self._over = asyncio.Event()
        try:
            await super().run()
        finally:
            self._over.set()

    async def ended(self) -> None:
        await self._over.wait()


async def _check_queued(spec: RunSpec, control: Control, out: str) -> None:
    state = await control.read()
    if state.submitted < spec.tasks:
        raise ConfigurationError(
            f"run {spec.run}: {state.submitted} of its {spec.tasks} tasks had been queued when the program "
            "that submitted them ended, and nobody else knows the rest. Call kon.map or kon.submit again "
            f"with the same items and out={out!r}: what is recorded is not repeated"
        )
