"""The backend object of `memory`, and its object store."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

import msgspec

from kon.backends.memory.ledger import MemoryLedger
from kon.backends.memory.queue import LIMITS, MemoryQueue
from kon.core.backend import (
    Backend,
    Channel,
    ChannelOptions,
    RequestCount,
    check_channel,
    check_same,
)
from kon.core.errors import StoreError
from kon.core.objects import ObjectStore, check_key, check_run
from kon.core.options import read_options


class MemoryObjects(ObjectStore):
    """Bytes by key. Files are read and written in one go on the loop's own thread, as its virtual time
    has no other."""

    def __init__(self) -> None:
        self._objects: dict[str, bytes] = {}

    async def put(self, key: str, file: Path) -> None:
        self._objects[check_key(key)] = file.read_bytes()  # noqa: ASYNC240 # see the class

    async def get(self, key: str, file: Path) -> None:
        file.write_bytes(self._objects[check_key(key)])  # noqa: ASYNC240

    async def size_bytes(self, key: str) -> int:
        return len(self._objects[check_key(key)])

    async def url(self, key: str, expires_s: float) -> str:
        """A name for the object, `memory:` and its key; no program outside of this process can follow it."""
        if check_key(key) not in self._objects:
            raise KeyError(key)
        return f"memory:{quote(key)}"


class NoOptions(msgspec.Struct, frozen=True):
    """Options of `memory`: none."""


class InProcess(Backend):
    """A backend whose runs are objects of this one. Every channel of a run that is opened through it shares
    its queues and tables. Runs stay until they are deleted, or the object goes.

    place: what holds the runs, in errors.
    """

    place: ClassVar[str]
    processes: ClassVar[bool] = False

    def _clear(self) -> None:
        self._channels: dict[str, tuple[ChannelOptions, Channel]] = {}
        self._kept: dict[str, ObjectStore] = {}
        """The objects that runs left, which are deleted."""

    def _has(self, run: str, options: ChannelOptions) -> bool:
        """Whether there is such a run. Raises ConfigurationError where it has other options."""
        if run not in self._channels:
            return False
        check_same(run, self._channels[run][0], options)
        return True

    async def open(self, run: str) -> Channel:
        if run not in self._channels:
            raise StoreError(f'there is no run "{run}" in {self.place}; create it first')
        return self._channels[run][1]

    async def delete(self, run: str, keep_objects: bool = False) -> None:
        channel = self._channels.pop(run, None)
        if not keep_objects:
            self._kept.pop(run, None)
        elif channel is not None:
            self._kept[run] = channel[1].objects

    async def close(self) -> None:
        """Nothing is held open."""


class MemoryBackend(InProcess):
    """Keeps everything in the memory of this process."""

    name: ClassVar[str] = "memory"
    takes = NoOptions
    place: ClassVar[str] = "the memory of this process"

    def __init__(self, options: Mapping[str, Any]) -> None:
        read_options("backend memory", options, self.takes)
        self._clear()
        self._requests = RequestCount()

    async def create(self, run: str, options: ChannelOptions) -> None:
        check_channel(options, LIMITS)
        if self._has(check_run(run), options):
            return
        requests = self._requests
        dead = MemoryQueue(options.visibility_s, requests)
        channel = Channel(
            tasks=MemoryQueue(options.visibility_s, requests, options.max_receives, dead),
            answers=MemoryQueue(options.visibility_s, requests),
            dead=dead,
            ledger=MemoryLedger(requests),
            control=MemoryLedger(requests),
            objects=self._kept.pop(run, MemoryObjects()),
        )
        self._channels[run] = (options, channel)

    @property
    def requests(self) -> int:
        return self._requests.made
