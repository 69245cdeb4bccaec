"""The peak memory of a process's worker processes, as Linux counts it."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Final

LOOK_S: Final = 0.1
WORKER: Final = b"kon.launch.process"
"""In its command line. A child that has just been forked still has its parent's, and its memory."""

PROC: Final = Path("/proc")


class PeakMemory:
    """Watches the worker processes that this one starts. Sees none where there is no /proc."""

    def __init__(self) -> None:
        self._peaks_mb: dict[int, float] = {}
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch)

    def __enter__(self) -> PeakMemory:
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._watcher.join()

    def largest_mb(self) -> float:
        """The peak of the largest worker; 0 where none was seen."""
        return max(self._peaks_mb.values(), default=0.0)

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_S):
            for process in PROC.glob("[0-9]*"):
                try:
                    self._look_at(process)
                except OSError:
                    pass  # it has just ended

    def _look_at(self, process: Path) -> None:
        after_name = (process / "stat").read_text().rpartition(")")[2].split()
        if int(after_name[1]) != os.getpid() or WORKER not in (process / "cmdline").read_bytes():
            return
        for line in (process / "status").read_text().splitlines():
            if line.startswith("VmHWM:"):  # it only grows, so that the last look before the end counts
                self._peaks_mb[int(process.name)] = int(line.split()[1]) / 1024


def own_peak_mb() -> float:
    """This process's own peak since it began its program; 0 where there is no /proc. getrusage would
    count its parent's memory too, a copy of which it was for an instant."""
    status = PROC / "self" / "status"
    if not status.exists():
        return 0.0
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024
