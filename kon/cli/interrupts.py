"""Ctrl-C during a run: once leaves it to its workers, twice stops them, three times ends them at once."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from kon.core.errors import Interrupted

if TYPE_CHECKING:  # commands that are no run's client take its signals alone
    from kon.launch.client_run import ClientRun

_Result = TypeVar("_Result")

GRACE_S: Final = 3.0
"""How long after the first Ctrl-C a second one still reaches the workers, in seconds."""

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def ending_signals() -> list[signal.Signals]:
    """Signals that end a command that goes on until somebody ends it: Ctrl-C, SIGTERM and SIGHUP.

    Ignored ones are left out. Whoever starts a program by `nohup`, or from a script with `&`, wants it to
    outlive its terminal, or a Ctrl-C that is meant for the script.
    """
    return [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]


class Interrupts:
    """Watches over one client.

    current: the run that is under way; None for none.
    resume: the commands that take it up again; it is told whether the run goes on.
    note: says something to a person. grace_s: see GRACE_S.
    ends_with_us: why no worker can go on without this process, where none can.
    """

    def __init__(
        self,
        current: Callable[[], ClientRun | None],
        resume: Callable[[bool], Sequence[str]],
        note: Callable[[str], None],
        grace_s: float = GRACE_S,
        ends_with_us: str | None = None,
    ) -> None:
        self._current = current
        self._resume = resume
        self._note = note
        self._grace_s = grace_s
        self._ends_with_us = ends_with_us
        self._count = 0
        self._run: ClientRun | None = None
        self._detached = False
        self._stop = asyncio.Event()
        self._task: asyncio.Task[Any] | None = None

    async def watch(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """The result of `work`. Raises Interrupted when it was interrupted."""
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(work)
        self._task = task
        signals = ending_signals()
        for number in signals:
            loop.add_signal_handler(number, self._on_signal, number)
        try:
            return await task
        except asyncio.CancelledError:
            if not self._count:
                raise
            raise Interrupted(await self._leave()) from None
        finally:
            for number in signals:
                loop.remove_signal_handler(number)

    def _on_signal(self, number: signal.Signals) -> None:
        self._count += 1
        if self._count == 1:
            self._first(number)
        elif self._run is not None and self._detached:
            self._further(self._run)

    def _first(self, number: signal.Signals) -> None:
        self._run = self._current()
        self._detached = self._run is not None and self._ends_with_us is None and self._run.detach()
        if number != signal.SIGINT:
            self._grace_s = 0.0  # nobody is there to press a key
        assert self._task is not None  # set before any signal is taken
        self._task.cancel()
        for line in self._explain():
            self._note(line)

    def _explain(self) -> list[str]:
        commands = [f"    {command}" for command in self._resume(self._detached)]
        if not self._detached:
            return [
                f"interrupted: {self._why_nothing_goes_on()} What is recorded stays; go on with",
                *commands,
            ]
        if self._grace_s:
            commands.append(f"Ctrl-C again within {self._grace_s:g} s stops the workers.")
        return [
            "interrupted: the workers go on with what is queued, until nothing is left. Come back with",
            *commands,
        ]

    def _why_nothing_goes_on(self) -> str:
        if self._run is None:
            return "no run was under way."
        if self._run.join:
            return "the workers are not this command's, and end when they see that it is gone."
        if self._ends_with_us is not None:
            return f"{self._ends_with_us}, and no worker goes on without it."
        backend = self._run.spec.backend.name
        return f"the backend {backend} lives in this process, and no worker goes on without it."

    def _further(self, run: ClientRun) -> None:
        if self._count == 2:
            self._note(
                f"stopping the workers: what runs may take up to {run.spec.drain_s:g} s more, what has not "
                "started is given back. Ctrl-C once more ends them at once."
            )
            run.stop_workers()
            self._stop.set()
        else:
            run.kill_workers()

    async def _leave(self) -> str:
        """Stay for a second Ctrl-C, where it would be of use; what has become of the workers."""
        if not self._detached or self._run is None:
            return "interrupted"
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._grace_s):
                await self._stop.wait()
        if not self._stop.is_set():
            return "detached; the workers go on"
        await self._run.workers_ended()
        return "interrupted; the workers have ended"
