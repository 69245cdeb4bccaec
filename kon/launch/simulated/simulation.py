"""One run in virtual time: hosts boot, kon's own workers and client do their work, and it is over."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from kon.backends.prices import usual_prices
from kon.backends.sim.backend import SimBackend
from kon.backends.sim.fleet import LimitReport, Usage
from kon.backends.sim.loop import SimLoop, simulate
from kon.core.clock import Clock
from kon.core.errors import ConfigurationError, Interrupted
from kon.core.journal import Journal
from kon.core.plugins import open_backend
from kon.core.spec import RunSpec
from kon.core.task import Answers
from kon.engine.client import Client, ClientOptions, Listener
from kon.engine.records.events import Event, Life, Recorder
from kon.engine.tally import Tally
from kon.engine.worker import Worker
from kon.launch.crew import doomed, worker_names
from kon.launch.process import make_kind, strategy_maker
from kon.launch.simulated.billing import billed, message_bytes, messages_of
from kon.launch.simulated.host import NoJournal, SimRecorder, in_virtual_time

CLIENT: Final = "client"
"""The host of the client."""

LOOK_STEPS: Final = 20_000
"""Callbacks between two looks at whether the simulation is to end, some tenths of a second."""

REFUSED_FAULTS: Final = ("crash", "pause", "client_crash", "client_pause", "stop", "late", "cancel")

HOUR_S: Final = 3600.0


class Report(msgspec.Struct, frozen=True):
    """What came of a simulation; times in virtual seconds.

    ready_s: until every worker was ready for the first time. wall_s: the makespan, from there on.
    submitted_s: of that, until all tasks were queued. host_s: of all hosts together, booting included.
    requests: by service and call. most_in_flight: messages of the task queue held at once.
    worker_cpu_s: of all workers together. lives: times that a worker became ready.
    """

    ready_s: float
    wall_s: float
    submitted_s: float
    host_s: float
    requests: dict[str, Usage]
    limits: list[LimitReport]
    most_in_flight: int
    worker_cpu_s: float
    client_cpu_s: float
    lives: int
    interruptions: int


class Journals(NamedTuple):
    """Where a simulation writes; nowhere, as a rule.

    events: of the workers, all in one. client_events: when the client began and ended. results: as
        everywhere.
    """

    events: Journal | None = None
    client_events: Journal | None = None
    results: Journal | None = None


class Simulation:
    """A run whose backend simulates, from the boot of its hosts to the end of its workers.

    recorded: answers of an earlier time, when what had failed is run again.
    following: tasks that would come after these, where this is the beginning of a larger run.
    stop: asked now and then whether to give up; then `run` raises Interrupted.
    """

    def __init__(
        self,
        spec: RunSpec,
        bodies: Iterable[Any],
        journals: Journals | None = None,
        *,
        recorded: Iterable[Answers] = (),
        first_attempt: int = 1,
        following: int = 0,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """Raises ConfigurationError for what can't be simulated in an experiment."""
        backend = open_backend(spec.backend, Path())
        if not isinstance(backend, SimBackend):
            raise ConfigurationError(f"the backend {spec.backend.name} does not simulate")
        self.spec = spec
        self.tally: Tally | None = None
        """How far the client is, once it is there."""
        self._backend = backend
        self._network = backend.network
        self._fleet = backend.fleet
        self._bodies = bodies
        events, client_events, results = journals or Journals()
        self._quiet = events is None
        self._events = events or NoJournal()
        self._client_events = client_events or NoJournal()
        self._results = results or NoJournal()
        self._recorded = recorded
        self._first_attempt = first_attempt
        self._following = following
        self._stop = stop
        self._rng = random.Random(f"{spec.seed}:hosts")
        self._loop = SimLoop()
        self._doomed = doomed(spec)
        self._workers: dict[str, tuple[Worker, asyncio.Task[None]]] = {}
        self._lives = dict.fromkeys(worker_names(spec), 0)
        self._up = self._ups = self._interruptions = 0
        self._over = False
        self._opened_s = 0.0
        self._body_bytes = 0
        self._refuse_faults()
        if self._fleet is not None:
            self._fleet.share_hosts(spec.processes)
            self._fleet.multiply(CLIENT, self._clients)

    def run(self) -> Report:
        """Simulate it to the end. Takes the calling thread, which may have no running loop."""
        self._loop.before_step(LOOK_STEPS, self._look)
        return simulate(self._main(), self._loop)

    def _refuse_faults(self) -> None:
        faults = self._network.faults
        for fault in REFUSED_FAULTS:
            if faults is not None and faults.can_fire(fault):
                raise ConfigurationError(
                    f"the fault {fault} is for `kon prove`, which looks at every await; in an experiment "
                    "faults.kill_workers ends workers during the run"
                )

    def _look(self) -> None:
        if self._stop():
            raise Interrupted("interrupted; a simulation has nothing to go on with")
        self._loop.before_step(self._loop.steps + LOOK_STEPS, self._look)

    # --- the run -------------------------------------------------------------------------------------

    async def _main(self) -> Report:
        spec, loop = self.spec, self._loop
        await self._backend.create(spec.run, spec.channel_options)
        self._channel = await self._backend.open(spec.run)
        self._ready: asyncio.Future[None] = loop.create_future()
        self._failed: asyncio.Future[None] = loop.create_future()
        for name in self._lives:
            loop.call_later(self._boot_s(), self._start, name, context=self._network.context)
        await self._first_of(self._ready)
        ready_s = loop.time()
        clock = self._clock(CLIENT)
        recorder = Recorder(self._client_events, clock)
        client = Client(
            spec,
            self._channel,
            Listener(self._results),
            clock,
            random.Random(f"{spec.seed}:{CLIENT}"),
            # a slower client has as many calls under way: what they compute is what takes it longer
            ClientOptions(
                in_flight=round(ClientOptions().in_flight * max(1.0, self._clients)),
                first_attempt=self._first_attempt,
                following=self._following,
            ),
        )
        self.tally = client.tally
        for packet in self._recorded:
            client.recall(packet.outcomes)
        self._opened_s = ready_s
        recorder.note(Event.OPEN, host=CLIENT, first_attempt=self._first_attempt)
        submit = loop.spawn(CLIENT, self._submit(client), "submit")
        await self._first_of(asyncio.gather(submit, loop.spawn(CLIENT, client.collect(), "collect")))
        await self._first_of(loop.spawn(CLIENT, client.close(), "close"))
        wall_s = loop.time() - ready_s
        recorder.note(Event.CLOSE, host=CLIENT, calls=client.timings.sums())
        recorder.flush()
        await self._end_workers()
        report = self._report(ready_s, wall_s, submit.result())
        usage = Recorder(self._events, clock, "all")
        usage.note(
            Event.USAGE, cpu_s=report.worker_cpu_s, requests=self._network.requests, **self._billed(report)
        )
        usage.flush()
        return report

    async def _submit(self, client: Client) -> float:
        await client.submit(self._bodies if self._quiet else self._weighed())
        return self._loop.time() - self._opened_s

    def _weighed(self) -> Iterator[Any]:
        """The bodies, adding up what they weigh in messages."""
        for body in self._bodies:
            self._body_bytes += len(msgspec.json.encode(body))
            yield body

    async def _first_of(self, work: asyncio.Future[Any]) -> None:
        """Wait for this, or for a worker that fails."""
        await asyncio.wait({work, self._failed}, return_when=asyncio.FIRST_COMPLETED)
        if self._failed.done():
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work
            self._failed.result()
        work.result()

    async def _end_workers(self) -> None:
        self._over = True
        running = list(self._workers.values())
        for worker, _ in running:
            worker.stop()
        if running:
            await asyncio.wait({task for _, task in running})
        if self._failed.done():
            self._failed.result()
        self._failed.cancel()

    # --- hosts ---------------------------------------------------------------------------------------

    def _start(self, name: str) -> None:
        """Begin a life of a worker."""
        if self._over:
            return
        self._lives[name] += 1
        life, spec = f"{name}.{self._lives[name]}", self.spec
        clock = self._clock(life)
        recorder = SimRecorder(
            self._events, clock, life, self._is_up, self._on_start(name, life), quiet=self._quiet
        )
        model = None if self._fleet is None else self._fleet.model
        tasks, late_s = (None, 0.0) if model is None else (model.tasks, model.hosts.cpu.late_us / 1e6)
        worker = Worker(
            Life(life, clock, recorder, random.Random(f"{spec.seed}:{life}")),
            spec,
            self._channel,
            strategy_maker(spec),
            in_virtual_time(make_kind(spec), tasks, late_s, f"{spec.seed}:{life}"),
        )
        task = self._loop.spawn(life, worker.run())
        self._workers[name] = (worker, task)
        task.add_done_callback(self._ended)
        if self._fleet is not None and self._fleet.choice.spot:
            self._loop.call_later(
                self._lasts_s(), self._take_back, name, life, recorder, context=self._network.context
            )

    def _on_start(self, name: str, life: str) -> Callable[[int], None]:
        """What the start of tasks sets off on this life's host."""
        cpu_s = 0.0 if self._fleet is None else self._fleet.model.hosts.cpu.task_us / 1e6
        left = self._doomed.pop(name, 0)

        def on_start(tasks: int) -> None:
            nonlocal left
            if self._fleet is not None:
                self._fleet.work(life, cpu_s * tasks, self._loop.time())
            if left:
                left = max(0, left - tasks)
                if not left:
                    self._kill(name, life, self._restart_s())

        return on_start

    def _kill(self, name: str, life: str, replaced_in_s: float) -> None:
        """End a life as SIGKILL does; the next one begins after a while."""
        self._loop.crash(life)
        self._workers.pop(name, None)
        self._loop.call_later(replaced_in_s, self._start, name, context=self._network.context)

    def _take_back(self, name: str, life: str, recorder: SimRecorder) -> None:
        """Amazon wants the host back: nobody looks at its two minutes' notice, and another one boots."""
        if not self._over and name in self._workers and self._workers[name][0].name == life:
            recorder.end()
            self._interruptions += 1
            self._kill(name, life, self._boot_s())

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None and not self._failed.done():
            self._failed.set_exception(error)

    def _is_up(self) -> None:
        self._ups += 1
        if self._ups == len(self._lives) and not self._ready.done():
            self._ready.set_result(None)

    def _clock(self, host: str) -> Clock:
        """A host's clock: virtual seconds, and off by its skew where that fault is on."""
        faults = self._network.faults
        far = None if faults is None else faults.fires("skew", host)
        if faults is None or far is None:
            return Clock(0.0)
        return Clock(far.uniform(-faults.spans.skew_s, faults.spans.skew_s))

    def _boot_s(self) -> float:
        if self._fleet is None or not self._fleet.choice.boot:
            return 0.0
        return self._fleet.draw_s(self._fleet.model.hosts.boot, self._rng)

    def _restart_s(self) -> float:
        return 0.0 if self._fleet is None else self._fleet.draw_s(self._fleet.model.hosts.restart, self._rng)

    def _lasts_s(self) -> float:
        """How long a spot host is left to its worker."""
        assert self._fleet is not None
        share = self._fleet.model.hosts.spot.interrupted_in_an_hour
        if not share:
            return math.inf
        return HOUR_S * -math.log(1.0 - self._rng.random()) / -math.log(max(1.0 - share, 1e-9))

    # --- figures -------------------------------------------------------------------------------------

    @property
    def _clients(self) -> float:
        return 1.0 if self._fleet is None else self._fleet.choice.clients

    def _requests(self) -> dict[str, Usage]:
        if self._fleet is None:
            return {}
        return {
            f"{service} {call}": Usage(usage.calls, usage.items)
            for (service, call), usage in self._fleet.usage.items()
        }

    def _billed(self, report: Report) -> dict[str, Any]:
        """What Amazon would bill, where there is a model of it."""
        if self._fleet is None or self._quiet:
            return {}
        spec = self.spec
        items = {name: float(usage.items) for name, usage in report.requests.items()}
        messages = messages_of(spec, items)
        each_bytes = message_bytes(spec, self._body_bytes / spec.tasks, spec.tasks / messages)
        return {
            "billed": billed(
                {name: usage.calls for name, usage in report.requests.items()},
                items,
                message_bytes=messages * each_bytes,
                request_bytes=usual_prices().sqs.request_bytes,
                fifo=self._fleet.choice.queue == "fifo",
            )
        }

    def _worker_cpu_s(self) -> float:
        cpu_s = {} if self._fleet is None else self._fleet.cpu_s
        return sum(used_s for host, used_s in cpu_s.items() if host != CLIENT)

    def _report(self, ready_s: float, wall_s: float, submitted_s: float) -> Report:
        fleet, queue = self._fleet, self._backend.tasks
        return Report(
            ready_s=ready_s,
            wall_s=wall_s,
            submitted_s=submitted_s,
            host_s=self._loop.time() * self.spec.workers,
            requests=self._requests(),
            limits=[] if fleet is None else fleet.report(wall_s),
            most_in_flight=0 if queue is None else queue.messages.most_in_flight,
            worker_cpu_s=self._worker_cpu_s(),
            client_cpu_s=0.0 if fleet is None else fleet.cpu_s.get(CLIENT, 0.0),
            lives=self._ups,
            interruptions=self._interruptions,
        )
