"""One run in virtual time on hosts that come and go by a policy, or that are there all the time.

Unlike in `kon run`, the client waits for nobody: what is measured is from the first task on, with the boot of
hosts in it. Hosts are paid for from their launch to the end of what they do when they are told to go.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from kon.backends.sim.fleet import Usage
from kon.backends.sim.loop import simulate
from kon.core.errors import ConfigurationError
from kon.core.spec import RunSpec
from kon.engine.client import Client, ClientOptions, Listener
from kon.engine.control import Control
from kon.fleet.autoscale.policy import USUAL_TASK_S, Observation, Policy, PolicyState, decide, work_s
from kon.launch.crew import worker_names
from kon.launch.simulated.simulation import CLIENT, Simulation

SCALER: Final = "autoscale"
"""The host of the loop that looks and decides."""

PARTS: Final = 60
"""Parts in which tasks come that come little by little."""


class Moment(msgspec.Struct, frozen=True):
    """What one look has seen, and decided. hosts: those that are up, booting and draining included."""

    at_s: float
    hosts: int
    messages: int
    change: int
    why: str


class ElasticReport(msgspec.Struct, frozen=True):
    """What came of it; times in virtual seconds.

    makespan_s: from the first task to the last answer. host_s: of all hosts together, until they are gone.
    most_hosts, most_waiting: at one time. mean_waiting: messages over the makespan, on average.
    left: tasks that were not done, as `max_cost` was used up.
    """

    makespan_s: float
    host_s: float
    most_hosts: int
    most_waiting: int
    mean_waiting: float
    left: int
    requests: dict[str, Usage]
    worker_cpu_s: float
    moments: list[Moment]


class _Host(msgspec.Struct):
    """names: of its workers. up_s: since when it is paid for. gone_s: until when; None while it is there."""

    names: list[str]
    up_s: float
    gone_s: float | None = None
    draining: bool = False
    has_booted: bool = False


class ElasticSimulation(Simulation):
    """policy: None for as many hosts as the spec has workers, all the time.

    arrive_s: over how long the tasks come, evenly; 0: all at once. hour_usd: of one host.
    least_s: the shortest time that a host is charged for.
    """

    def __init__(
        self,
        spec: RunSpec,
        bodies: Iterable[Any],
        policy: Policy | None,
        *,
        arrive_s: float = 0.0,
        hour_usd: float | None = None,
        least_s: float = 0.0,
    ) -> None:
        super().__init__(spec, bodies)
        if self._fleet is None:
            raise ConfigurationError("hosts that come and go are simulated by a model; name one: --model")
        self._policy = policy
        self._arrive_s = arrive_s
        self._hour_usd = hour_usd
        self._least_s = least_s
        self._hosts: list[_Host] = []
        self._looks: list[Moment] = []
        self._stuck: asyncio.Future[None] | None = None

    def run_elastic(self) -> ElasticReport:
        """Simulate it to the end, which is when the last host has gone."""
        return simulate(self._live(), self._loop)

    async def _live(self) -> ElasticReport:
        spec, loop = self.spec, self._loop
        await self._backend.create(spec.run, spec.channel_options)
        self._channel = await self._backend.open(spec.run)
        self._ready = loop.create_future()
        self._failed = loop.create_future()
        self._stuck = loop.create_future()
        client = Client(
            spec,
            self._channel,
            Listener(self._results),
            self._clock(CLIENT),
            random.Random(f"{spec.seed}:{CLIENT}"),
            ClientOptions(in_flight=round(ClientOptions().in_flight * max(1.0, self._clients))),
        )
        self.tally = client.tally
        if self._policy is None:
            for _ in range(spec.workers):
                self._launch()
        scaling = loop.spawn(SCALER, self._scale(self._policy))
        work: asyncio.Future[Any] = asyncio.gather(
            loop.spawn(CLIENT, self._come(client), "submit"), loop.spawn(CLIENT, client.collect(), "collect")
        )
        waited: set[asyncio.Future[Any]] = {work, self._stuck, self._failed}
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if self._failed.done():
            self._failed.result()
        makespan_s, left = loop.time(), client.tally.left
        if work.done():
            work.result()
            await self._first_of(loop.spawn(CLIENT, client.close(), "close"))
        else:
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work
        self._over = True
        await scaling
        await self._end_workers()
        return self._elastic_report(makespan_s, left)

    async def _come(self, client: Client) -> None:
        """Queue the tasks, as they come."""
        if not self._arrive_s:
            await client.submit(self._bodies)
            return
        bodies, tasks = list(self._bodies), self.spec.tasks
        for part in range(1, PARTS + 1):
            await client.submit(bodies, upto=tasks * part // PARTS)
            if part < PARTS:
                await asyncio.sleep(self._arrive_s / PARTS)

    # --- hosts ---------------------------------------------------------------------------------------

    async def _scale(self, policy: Policy | None) -> None:
        """Look, decide and act until the run is over and the hosts have gone; without a policy only look."""
        looking = policy or Policy(max_hosts=self.spec.workers)
        state, drains = PolicyState(), set[asyncio.Task[None]]()
        while True:
            seen = await self._look_around(looking)
            if policy is None:
                change, why, spent = 0, "", False
            else:
                decision, state = decide(policy, state, seen, self._hour_usd)
                change, why, spent = decision.change, decision.why, decision.spent
            up = seen.hosts + seen.draining
            waiting = seen.messages + seen.in_flight
            self._looks.append(Moment(self._loop.time(), up, waiting, change, why))
            for _ in range(change):
                self._launch()
            for host in self._to_go(-change):
                drains.add(self._loop.spawn(SCALER, self._drain(host)))
            if spent and not up and self._stuck is not None and not self._stuck.done():
                self._stuck.set_result(None)
            if self._over and (policy is None or up <= policy.min_hosts):
                return
            await asyncio.sleep(looking.look_s)

    async def _look_around(self, policy: Policy) -> Observation:
        spec = self.spec
        depth = await self._channel.tasks.depth()
        control = Control(self._channel.control)
        submitted = (await control.read()).submitted
        bundle = spec.bundle or await control.tasks_per_message()
        task_s = policy.task_s or (spec.ideal_s / spec.tasks if spec.ideal_s else USUAL_TASK_S)
        # what is announced is there for hosts to come for; what comes little by little is not announced
        unsubmitted = 0 if self._arrive_s or self._over else spec.tasks - submitted
        here = [host for host in self._hosts if host.gone_s is None]
        return Observation(
            now_s=self._loop.time(),
            hosts=sum(not host.draining for host in here),
            draining=sum(host.draining for host in here),
            messages=depth.visible + depth.delayed,
            in_flight=depth.in_flight,
            work_s=work_s(depth.total, bundle, unsubmitted, task_s, spec.processes * spec.slots),
            submitted={spec.run: submitted},
        )

    def _launch(self) -> None:
        assert self._fleet is not None
        number = len(self._hosts) + 1
        host = _Host(worker_names(self.spec, number), self._loop.time())
        self._hosts.append(host)
        boot_s = self._fleet.draw_s(self._fleet.model.hosts.boot, self._rng)
        self._loop.call_later(boot_s, self._booted, host, context=self._network.context)

    def _booted(self, host: _Host) -> None:
        if host.gone_s is None and not host.draining:
            host.has_booted = True
            for name in host.names:
                self._lives.setdefault(name, 0)
                self._start(name)

    def _to_go(self, count: int) -> list[_Host]:
        """Those that have nothing to do yet come first, then the youngest."""
        here = [host for host in self._hosts if host.gone_s is None and not host.draining]
        here.sort(key=lambda host: (host.has_booted, -host.up_s))
        return here[: max(0, count)]

    async def _drain(self, host: _Host) -> None:
        host.draining = True
        running = [self._workers[name] for name in host.names if name in self._workers]
        for worker, _ in running:
            worker.stop()
        if running:
            await asyncio.wait({task for _, task in running})
        host.gone_s = self._loop.time()

    # --- figures -------------------------------------------------------------------------------------

    def _elastic_report(self, makespan_s: float, left: int) -> ElasticReport:
        during = [each for each in self._looks if each.at_s <= makespan_s] or self._looks[:1]
        end_s = makespan_s if self._policy is None else self._loop.time()
        host_s = sum(
            max(self._least_s, (end_s if host.gone_s is None else host.gone_s) - host.up_s)
            for host in self._hosts
        )
        return ElasticReport(
            makespan_s=makespan_s,
            host_s=host_s,
            most_hosts=max(each.hosts for each in self._looks),
            most_waiting=max(each.messages for each in during),
            mean_waiting=sum(each.messages for each in during) / len(during),
            left=left,
            requests=self._requests(),
            worker_cpu_s=self._worker_cpu_s(),
            moments=self._looks,
        )
