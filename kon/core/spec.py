"""A run: one cell of an experiment, wholly described, as it is stored and handed to workers."""

from __future__ import annotations

import hashlib
import os
from typing import Any, Final

import msgspec

from kon.core.backend import ChannelOptions


class Plugin(msgspec.Struct, frozen=True):
    """A backend, strategy or kind by name, with its options."""

    name: str
    options: dict[str, Any] = {}

    @property
    def label(self) -> str:
        """For tables: the name, and the options that set it apart."""
        shown = ", ".join(f"{key}={value}" for key, value in sorted(self.options.items()))
        return f"{self.name}({shown})" if shown else self.name


class Faults(msgspec.Struct, frozen=True):
    """Faults that are put into a real run.

    duplicate_rate: the share of messages that are sent, and so delivered, twice.
    kill_workers: how many workers end by SIGKILL during the run; each is replaced.
    """

    duplicate_rate: float = 0.0
    kill_workers: int = 0


FLUSH_S: Final = 0.05
"""How long a worker gathers outcomes, where nothing else is said."""

PREFETCH: Final = 10
"""Messages ahead of one slot, in records that do not say how many."""


class RunSpec(msgspec.Struct, frozen=True):
    """All that decides how a run goes. Two runs with equal specs are the same run.

    tasks: how many there are; they have the indexes 0 to tasks - 1.
    workers: worker processes on one machine, hosts on a fleet.
    processes: worker processes of each worker; slots: tasks at once in each process.
    prefetch: messages that a worker holds ahead of its slots, at most; None for a fifth of a second of work.
    bundle: tasks in a message; None for what suits their durations (see kon.engine.sizing).
    tasks_per_row: neighbouring tasks whose claims and results share a row of the ledger
        (see kon.engine.paged_ledger); None for those of a message.
    attempts: failed attempts before a task counts as failed.
    timeout_s: the longest an attempt may take; None for no limit.
    backoff_s: the pause before the second attempt; doubled for each later one, with jitter.
    flush_s: how long a worker may gather outcomes before it commits and answers them.
    idle_s: a worker ends when its queue has been empty that long; None: it stays until told.
    drain_s: how long a worker that was told to stop lets running tasks go on.
    workload_digest: tells apart workloads whose bodies differ.
    ideal_s: the sum of the tasks' own durations in seconds, where they are known beforehand.
    """

    run: str
    experiment: str
    backend: Plugin
    strategy: Plugin
    kind: Plugin
    tasks: int
    workers: int = 1
    processes: int = 1
    slots: int = 1
    # The defaults are those of records that were written before there was a choice.
    prefetch: int | None = PREFETCH
    bundle: int | None = 1
    tasks_per_row: int | None = 1
    repeat: int = 1
    visibility_s: float = 30.0
    attempts: int = 3
    max_receives: int = 5
    timeout_s: float | None = None
    backoff_s: float = 0.5
    flush_s: float = FLUSH_S
    idle_s: float | None = None
    drain_s: float = 10.0
    workload_digest: str = ""
    ideal_s: float | None = None
    faults: Faults = Faults()
    seed: int = 0

    @property
    def channel_options(self) -> ChannelOptions:
        return ChannelOptions(visibility_s=self.visibility_s, max_receives=self.max_receives)

    @property
    def lanes(self) -> int:
        """Tasks that can run at once in all."""
        return self.workers * self.processes * self.slots

    def key(self) -> str:
        """A digest of everything that decides the outcome; equal for a run that need not be repeated."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()[:16]


def processors() -> int:
    """How many this process may use: the workers of a run that names no number."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
