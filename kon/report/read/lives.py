"""Lives of workers, as their events show them: who is there, and what runs in which slot."""

from __future__ import annotations

from typing import Final

import msgspec

from kon.report.read.lines import EventLine

MOST_OPEN: Final = 4_096
"""Starts without an end that are remembered of a life; nobody looks at more slots than that one by one."""


class Open(msgspec.Struct, frozen=True, gc=False):
    """An attempt that has begun, and whose end is not recorded yet."""

    task: int
    attempt: int
    since_s: float


class Used(msgspec.Struct):
    """What a life has used so far, by its last word."""

    cpu_s: float = 0.0
    requests: int = 0
    billed: dict[str, float] | None = None


class WorkerLife(msgspec.Struct):
    """One life of a worker: a process, from its start to its end. Times in seconds since the epoch.

    ended: it says so itself. replaced: another life of its worker began without that: it was killed.
    slots: None where its events are on another machine, and only its answers are known.
    used: of each life of this name; in memory several have the same name, and each counts from 0.
    """

    name: str
    host: str = ""
    slots: int | None = None
    last_s: float = 0.0
    ended: bool = False
    replaced: bool = False
    answered: int = 0
    failed: int = 0
    used: list[Used] = []
    open: dict[int, Open] = {}

    @property
    def worker(self) -> str:
        """The worker whose life it is: its name without what tells its lives apart."""
        return self.name.partition(".")[0]

    @property
    def over(self) -> bool:
        return self.ended or self.replaced

    def begin(self, line: EventLine) -> None:
        """It is ready, and says so in this line."""
        self.slots, self.host, self.ended = line.slots, line.host or "", False
        self.used.append(Used())
        self.says(line)

    def says(self, line: EventLine) -> None:
        """What it has used so far stands in this line."""
        if not self.used:
            self.used.append(Used())
        used = self.used[-1]
        used.cpu_s = used.cpu_s if line.cpu_s is None else line.cpu_s
        used.requests = used.requests if line.requests is None else line.requests
        used.billed = used.billed if line.billed is None else line.billed

    def start(self, task: int, attempt: int, since_s: float) -> None:
        if len(self.open) < MOST_OPEN and not self.over:
            self.open[task] = Open(task, attempt, since_s)

    def end(self, tasks: list[int] | range) -> None:
        if self.open:
            for task in tasks:
                self.open.pop(task, None)

    def close(self, replaced: bool) -> None:
        self.open.clear()
        self.ended, self.replaced = not replaced, replaced

    def busy(self) -> list[Open]:
        """What is in its slots. An end is recorded a moment after it came, so that for that moment there may
        be more than there are slots: those that began first are as likely as any to be there still."""
        return list(self.open.values())[: self.slots]
