"""When a worker has run so many tasks, and what CPU time it has used by then: told through a pipe.

Both ends are on one machine, and share its monotonic clock.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

PIPE: Final = "BENCH_MARKS"
"""The variable with the pipe's path."""

AT: Final = "BENCH_MARKS_AT"
"""The variable with the numbers of tasks at which to tell, with commas between them."""

READY: Final = "ready"


class Marks:
    """In the worker: counts tasks, each once, and tells when it comes to a mark."""

    def __init__(self, pipe: Path, at: frozenset[int]) -> None:
        self._pipe = pipe
        self._at = at
        self._lock = threading.Lock()
        self._seen: set[int] = set()

    def ran(self, task: int) -> None:
        with self._lock:
            if task in self._seen:
                return
            self._seen.add(task)
            tasks = len(self._seen)
        if tasks in self._at:
            self.tell(tasks)

    def tell(self, tasks: int | str) -> None:
        mark = {"tasks": tasks, "t": time.monotonic(), "cpu_s": time.process_time()}
        with self._pipe.open("w") as file:
            file.write(json.dumps(mark) + "\n")


def of_environment() -> Marks | None:
    """Those that the client asks for; None in a process that nobody asks."""
    if PIPE not in os.environ:
        return None
    return Marks(Path(os.environ[PIPE]), frozenset(map(int, os.environ[AT].split(","))))


class Reader:
    """In the client: waits for marks, for as long as the worker lives."""

    def __init__(self, folder: Path, at: tuple[int, ...]) -> None:
        self._pipe = folder / "marks"
        self._at = at
        os.mkfifo(self._pipe)
        # both ways, so that it neither waits for a writer nor ends with one
        self._fd = os.open(self._pipe, os.O_RDWR)
        self._rest = b""

    @property
    def environment(self) -> Mapping[str, str]:
        return {PIPE: str(self._pipe), AT: ",".join(map(str, self._at))}

    def wait(
        self, tasks: int | str, worker: subprocess.Popen[bytes], limit_s: float = 120.0
    ) -> dict[str, Any]:
        """The mark at so many tasks. Raises RuntimeError where it doesn't come."""
        give_up_s = time.monotonic() + limit_s
        while True:
            line, found, rest = self._rest.partition(b"\n")
            if found:
                self._rest = rest
                mark: dict[str, Any] = json.loads(line)
                if mark["tasks"] == tasks:
                    return mark
            elif select.select([self._fd], [], [], 0.2)[0]:
                self._rest += os.read(self._fd, 65_536)
            elif worker.poll() is not None:
                raise RuntimeError(f"the worker ended with exit code {worker.returncode}")
            elif time.monotonic() > give_up_s:
                raise RuntimeError(f"the worker has not come to {tasks} tasks within {limit_s:.0f} s")

    def close(self) -> None:
        os.close(self._fd)
