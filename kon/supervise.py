"""Supervision: keeps a number of worker processes running, and replaces those that die."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from kon.errors import WorkersFailed
from kon.records import RunFolder

QUICK_DEATHS: Final = 3
"""A worker that failed so often in a row, each time within `QUICK_S`, is not started again."""
QUICK_S: Final = 2.0


class WorkerProcesses:
    """The worker processes of one run on this machine.

    doomed: workers, by name, that are to end by SIGKILL at their n-th task; their replacements are not.
    """

    def __init__(self, folder: RunFolder, names: list[str], doomed: Mapping[str, int] | None = None) -> None:
        self._folder = folder
        self._names = names
        self._doomed = dict(doomed or {})
        self._processes: dict[str, Process] = {}
        self._stopping = False
        self._detached = False

    async def run(self) -> None:
        """Keep them running until every one has ended by itself, or `stop` was called.

        Raises WorkersFailed when one fails again and again as soon as it is started.
        """
        self._folder.logs.mkdir(parents=True, exist_ok=True)
        try:
            async with asyncio.TaskGroup() as group:
                for name in self._names:
                    group.create_task(self._keep(name))
        finally:
            if not self._detached:
                self.kill()
                for process in self._processes.values():
                    await process.wait()

    def pids(self) -> dict[str, int]:
        """The process of each worker that runs now."""
        return {name: each.pid for name, each in self._processes.items() if each.returncode is None}

    def stop(self) -> None:
        """Tell every worker to drain; `run` returns when they have ended."""
        self._stopping = True
        self._signal(signal.SIGTERM)

    def detach(self) -> None:
        """Leave them running by themselves: cancelling `run` does not end them after this."""
        self._detached = True

    def kill(self) -> None:
        """End them at once, and start none again. What they held comes again to others."""
        self._stopping = True
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        for process in self._processes.values():
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(number)

    async def _keep(self, name: str) -> None:
        now_s = asyncio.get_running_loop().time
        quick_deaths = 0
        while not self._stopping:
            began_s = now_s()
            exit_code = await self._one_life(name)
            if exit_code == 0:
                return
            if exit_code > 0 and now_s() - began_s < QUICK_S:
                quick_deaths += 1
            else:
                quick_deaths = 0
            if quick_deaths == QUICK_DEATHS:
                raise WorkersFailed(
                    f"worker {name} failed {QUICK_DEATHS} times as soon as it was started: "
                    f"{self._last_words(name)}. Its tasks are still queued; mend the cause and start again"
                )

    async def _one_life(self, name: str) -> int:
        command = [sys.executable, "-P", "-m", "kon.process", str(self._folder.path), name]
        kill_after = self._doomed.pop(name, None)
        if kill_after is not None:
            command += ["--kill-after", str(kill_after)]
        with self._log(name).open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                # a session of its own: Ctrl-C in the terminal is for the client, not for its workers
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._processes[name] = process
        if self._stopping:
            process.send_signal(signal.SIGTERM)
        return await process.wait()

    def _log(self, name: str) -> Path:
        return self._folder.logs / f"{name}.log"

    def _last_words(self, name: str) -> str:
        lines = self._log(name).read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"nothing in {self._log(name)}"
