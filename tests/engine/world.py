"""A run in virtual time over queues and tables in memory: the real worker, the real client, no waiting."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import msgspec

from kon.backends.memory import MemoryBackend
from kon.backends.sim.loop import SimLoop, simulate
from kon.core.backend import Channel
from kon.core.clock import Clock
from kon.core.errors import KindError
from kon.core.journal import MemoryJournal
from kon.core.kind import Attempt, Kind
from kon.core.queue import Message
from kon.core.spec import Plugin, RunSpec
from kon.core.strategy import Strategy
from kon.core.task import Answers, Bundle, Outcome, Task, decode_answers, encode
from kon.engine.client import Client, ClientOptions, Listener
from kon.engine.records.events import Life, Recorder, Watcher
from kon.engine.tally import Tally
from kon.engine.worker import Worker, WorkerOptions
from kon.strategies.lease import Lease

_Result = TypeVar("_Result")

LIMIT_S = 86_400.0


def in_virtual_time(main: Coroutine[Any, Any, _Result]) -> _Result:
    """Run it where a day passes in no time; a deadlock is an error."""
    return simulate(main, SimLoop(limit_s=LIMIT_S))


class Unspeakable(Exception):
    """An exception that can't be shown."""

    def __str__(self) -> str:
        raise ValueError("no words")


ODD_FAILURES = {
    "bytes": ValueError("caf\udce9: no such picture"),
    "kind's bytes": KindError("caf\udce9: no such picture", {"name": "caf\udce9"}),
    "no words": Unspeakable(),
}


class Scripted(Kind):
    """Does what a body says: {"s": seconds}; {"fail": n} fails the first n attempts; {"result": value};
    {"size": n} has a result of n characters, {"odd": true} one that is no JSON value; {"raise": name} raises
    that of ODD_FAILURES."""

    name: ClassVar[str] = "scripted"

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.attempts: list[Attempt] = []
        self.ended: list[int] = []
        self.closed = False

    def check(self, body: Any) -> None:
        return

    async def execute(self, body: Any, attempt: Attempt) -> Any:
        self.attempts.append(attempt)
        await asyncio.sleep(body.get("s", 0.0))
        if attempt.number <= body.get("fail", 0):
            raise ValueError(f"attempt {attempt.number} fails")
        if "raise" in body:
            raise ODD_FAILURES[body["raise"]]
        self.ended.append(attempt.index)
        if "size" in body:
            return "x" * body["size"]
        return object() if body.get("odd") else body.get("result")

    async def close(self) -> None:
        self.closed = True


class World:
    """One run's channel, and what its workers and client wrote."""

    def __init__(self, channel: Channel, spec: RunSpec) -> None:
        self.channel = channel
        self.spec = spec
        self.clock = Clock(1_000_000.0)
        self.results = MemoryJournal()
        self.journals: dict[str, MemoryJournal] = {}

    @classmethod
    async def create(cls, tasks: int = 1, **settings: Any) -> World:
        spec = RunSpec(
            run="r",
            experiment="e",
            backend=Plugin("memory"),
            strategy=Plugin("lease"),
            kind=Plugin("scripted"),
            tasks=tasks,
            **settings,
        )
        backend = MemoryBackend({})
        await backend.create("r", spec.channel_options)
        return cls(await backend.open("r"), spec)

    def worker(
        self,
        name: str = "w1",
        strategy: Callable[..., Strategy] = Lease,
        kind: Kind | None = None,
        options: WorkerOptions | None = None,
        channel: Channel | None = None,
        clock: Clock | None = None,
        watches: Sequence[Watcher] = (),
        **strategy_options: Any,
    ) -> Worker:
        clock = clock or self.clock
        self.journals[name] = MemoryJournal()
        recorder = Recorder(self.journals[name], clock, watches=watches)
        return Worker(
            Life(name, clock, recorder, random.Random(name)),
            self.spec,
            channel or self.channel,
            lambda ledger, worker, clock: strategy(ledger, worker, clock, **strategy_options),
            kind or Scripted({}),
            options or WorkerOptions(),
        )

    def client(self, channel: Channel | None = None, first_attempt: int = 1) -> Client:
        return Client(
            self.spec,
            channel or self.channel,
            Listener(self.results),
            self.clock,
            random.Random("client"),
            ClientOptions(first_attempt=first_attempt),
        )

    async def run(self, bodies: Iterable[Any], *workers: Worker) -> Tally:
        """Client and workers together, to the end."""
        async with asyncio.TaskGroup() as group:
            for worker in workers:
                group.create_task(worker.run())
            client = self.client()
            tally = await client.run(bodies)
            await client.close()
            for worker in workers:
                worker.stop()
        return tally

    async def send(self, *bodies: Any, bundle: bool = False, receives: int = 0) -> None:
        """Queue tasks by hand, numbered from 0."""
        tasks = [Task(index, body) for index, body in enumerate(bodies)]
        groups = [tasks] if bundle else [[task] for task in tasks]
        await self.channel.tasks.send([Message(encode(Bundle("r", group, receives))) for group in groups])

    def estimate_depth(self) -> None:
        """Make the depth of the task queue an estimate, as SQS's is."""
        limits = self.channel.tasks.limits
        self.channel.tasks.limits = msgspec.structs.replace(limits, stale_depth=True)

    async def answers(self) -> list[Outcome]:
        """Every answer that is queued, in order."""
        outcomes: list[Outcome] = []
        while deliveries := await self.channel.answers.receive(100, 0.0):
            for delivery in deliveries:
                outcomes += decode_answers(delivery.body).outcomes
            await self.channel.answers.ack(deliveries)
        return outcomes

    def events(self, event: str, worker: str | None = None) -> list[dict[str, Any]]:
        """The lines of one event, in order."""
        lines = [
            msgspec.json.decode(line)
            for name, journal in self.journals.items()
            if worker in (None, name)
            for line in journal.lines
        ]
        return [line for line in lines if line["e"] == event]

    def tasks_of(self, event: str, worker: str | None = None) -> list[int]:
        """The tasks that an event was about, as often as it was."""
        indexes: list[int] = []
        for line in self.events(event, worker):
            first, count = line.get("r", (0, 0))
            indexes += line.get("i", range(first, first + count))
        return indexes

    def recorded(self) -> dict[int, Outcome]:
        """What the client wrote down."""
        packets = [msgspec.json.decode(line, type=Answers) for line in self.results.lines]
        return {outcome.index: outcome for packet in packets for outcome in packet.outcomes}
