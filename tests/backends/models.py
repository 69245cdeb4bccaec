"""Backends in a time that a state machine sets forward, and the plainest models of what they keep."""

from __future__ import annotations

import asyncio
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Literal, TypeVar

from kon.backends.memory import MemoryBackend
from kon.backends.sim.backend import SimBackend
from kon.backends.sim.loop import SimLoop
from kon.backends.sqlite import SqliteBackend
from kon.core.backend import Backend, Channel, ChannelOptions
from kon.core.ledger import Record, missing
from kon.core.queue import Depth

_Reply = TypeVar("_Reply")

RUN = "machine"


class Ground(ABC):
    """A run on a backend, for code that is no coroutine."""

    channel: Channel

    @abstractmethod
    def run(self, call: Coroutine[Any, Any, _Reply]) -> _Reply: ...

    @abstractmethod
    def pass_time(self, seconds: float) -> None: ...

    @abstractmethod
    def end(self) -> None: ...

    def _make(self, backend: Backend, options: ChannelOptions) -> None:
        self.run(backend.create(RUN, options))
        self.channel = self.run(backend.open(RUN))


class VirtualGround(Ground):
    """In virtual time."""

    def __init__(self, options: ChannelOptions) -> None:
        self._loop = SimLoop()
        self._make(self._backend(), options)

    @abstractmethod
    def _backend(self) -> Backend: ...

    def run(self, call: Coroutine[Any, Any, _Reply]) -> _Reply:
        return self._loop.run_until_complete(call)

    def pass_time(self, seconds: float) -> None:
        self.run(asyncio.sleep(seconds))

    def end(self) -> None:
        self._loop.close()


class MemoryGround(VirtualGround):
    def _backend(self) -> Backend:
        return MemoryBackend({})


class SimGround(VirtualGround):
    """The simulated services, behaving well."""

    def _backend(self) -> Backend:
        return SimBackend({})


class _AheadOfTime(SqliteBackend):
    """Its clock is set forward as the machine likes."""

    ahead_ms = 0

    def _clock_ms(self) -> Callable[[], int]:
        real_ms = super()._clock_ms()
        return lambda: real_ms() + self.ahead_ms


class SqliteGround(Ground):
    """In real time, which the machine's leaps dwarf: its seconds pass in microseconds."""

    def __init__(self, options: ChannelOptions) -> None:
        self._runner = asyncio.Runner()
        self._folder = tempfile.TemporaryDirectory()
        self._backend = _AheadOfTime({"path": self._folder.name})
        self._make(self._backend, options)

    @property
    def file(self) -> Path:
        return Path(self._folder.name) / RUN / "kon.db"

    def run(self, call: Coroutine[Any, Any, _Reply]) -> _Reply:
        return self._runner.run(call)

    def pass_time(self, seconds: float) -> None:
        self._backend.ahead_ms += int(seconds * 1000)

    def end(self) -> None:
        self.run(self._backend.close())
        self._runner.close()
        self._folder.cleanup()


Place = Literal["queue", "dead", "gone"]


class ModelMessage:
    """One message: where it is, when it falls due, and by which handle it is held."""

    def __init__(self, body: bytes, due_s: float) -> None:
        self.body = body
        self.due_s = due_s
        self.receives = 0
        self.place: Place = "queue"

    def is_visible(self, now_s: float) -> bool:
        return self.place == "queue" and self.due_s <= now_s


class ModelQueue:
    """A list of messages, looked through from one end to the other."""

    def __init__(self, options: ChannelOptions) -> None:
        self.options = options
        self.now_s = 0.0
        self.messages: dict[bytes, ModelMessage] = {}

    def living(self) -> list[ModelMessage]:
        return [message for message in self.messages.values() if message.place == "queue"]

    def visible(self) -> list[ModelMessage]:
        """What a receive may return."""
        return [each for each in self.living() if each.is_visible(self.now_s) and not self.is_doomed(each)]

    def is_doomed(self, message: ModelMessage) -> bool:
        """The next receive that comes upon it moves it to the dead-letter queue."""
        return message.is_visible(self.now_s) and message.receives >= self.options.max_receives

    def depth(self) -> Depth:
        held = [each for each in self.living() if not each.is_visible(self.now_s)]
        return Depth(
            visible=len(self.living()) - len(held),
            in_flight=sum(each.receives > 0 for each in held),
            delayed=sum(each.receives == 0 for each in held),
        )


class ModelLedger:
    """A dict, and the contract's sentences one by one."""

    def __init__(self) -> None:
        self.rows: dict[int, Record] = {}

    def read(self, keys: list[int]) -> list[Record | None]:
        return [self.rows.get(key) for key in keys]

    def insert_new(self, records: list[Record]) -> list[Record | None]:
        found = self.read([record.key for record in records])
        for record in records:
            self.rows.setdefault(record.key, record)
        return found

    def replace(self, records: list[Record], if_tokens: list[str]) -> list[Record | None]:
        return [self._replace(record, token) for record, token in zip(records, if_tokens, strict=True)]

    def _replace(self, record: Record, if_token: str) -> Record | None:
        found = self.rows.get(record.key)
        if found is None:
            return missing(record.key)
        if found.token != if_token:
            return found
        self.rows[record.key] = record
        return None

    def put(self, records: list[Record]) -> None:
        for record in records:
            self.rows[record.key] = record

    def delete(self, keys: list[int], if_tokens: list[str]) -> list[bool]:
        return [self._delete(key, token) for key, token in zip(keys, if_tokens, strict=True)]

    def _delete(self, key: int, if_token: str) -> bool:
        if key not in self.rows or self.rows[key].token != if_token:
            return False
        del self.rows[key]
        return True

    def scan(self, first: int, limit: int) -> list[Record]:
        return [self.rows[key] for key in sorted(self.rows) if key >= first][:limit]
