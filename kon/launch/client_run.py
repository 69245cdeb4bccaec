"""A run whose client is this process: what it is to those around it, and what it is given and tells."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from kon.core.backend import Channel
from kon.core.clock import Clock
from kon.core.spec import RunSpec
from kon.engine.client import Client, ClientOptions, Listener
from kon.engine.records.records import RunFolder
from kon.engine.tally import Tally

MakeClient = Callable[[RunSpec, Channel, Listener, Clock, random.Random, ClientOptions], Client]


class BodySource(Protocol):
    """Where a run's task bodies come from: a Workload, or a maker that can be asked again."""

    def bodies(self, workers: int) -> Iterable[Any]: ...


class RunListener:
    """Whom a run tells what happens. It does nothing by itself."""

    def update(self, tally: Tally) -> None:
        """Hear how far the run is; after each look for answers."""

    def note(self, text: str) -> None:
        """Hear of what people should know."""


class ClientRun(Protocol):
    """One run whose client is this process, as whoever watches over the client sees it."""

    folder: RunFolder
    spec: RunSpec

    @property
    def join(self) -> bool:
        """Whether others start its workers."""

    @property
    def billed(self) -> Mapping[str, float]:
        """What a provider has billed for the client's own requests so far (see Backend.billed)."""

    async def run(self) -> Tally:
        """Run it to the end: every task accounted for, workers gone. Records are in the folder."""

    async def submit(self) -> None:
        """Queue its tasks, for workers and a client that are started later.

        Raises ConfigurationError for a backend that ends with this process.
        """

    def detach(self) -> bool:
        """Leave the workers running when `run` is cancelled. False where there are none that could go on
        without this process."""

    def stop_workers(self) -> None:
        """Have the workers drain and end, whatever is left to do."""

    def kill_workers(self) -> None:
        """End the workers at once; what they held comes again to others."""

    async def workers_ended(self) -> None:
        """Return when no worker of the run is left here."""
