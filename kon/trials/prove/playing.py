"""Playing a scenario: once under a seed, on many processes, and again from a counter-example.

A counter-example is one schedule and its faults, under which an invariant breaks whenever it is replayed.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Final, TypeVar

import msgspec

from kon.backends.sim.faults import FaultRates, Faults, Fired
from kon.backends.sim.latency import Latency
from kon.backends.sim.loop import SimDeadlock, SimLoop, SimTimeout
from kon.backends.sim.network import Network
from kon.backends.sim.schedule import Given, Schedule, Seeded
from kon.backends.sim.trace import Trace
from kon.core.plugins import strategy_class
from kon.core.spec import Plugin, processors
from kon.trials.prove.on_aws import AwsServices
from kon.trials.prove.on_sqlite import SqliteServices
from kon.trials.prove.scenario import Break, Invariant, MakeStrategy, Played, Scenario
from kon.trials.prove.services import Services, SimServices
from kon.trials.prove.stage import Stage
from kon.trials.prove.watch import Watch

MANY_TASKS: Final = 100
"""With this many tasks or more, what takes a call for each task is not tried."""


def play(
    scenario: Scenario,
    seed: int,
    *,
    schedule: Schedule | None = None,
    plan: Iterable[Fired] | None = None,
    trace: Trace | None = None,
    make_strategy: MakeStrategy | None = None,
    latency: Latency | None = None,
) -> Played:
    """Run a scenario once, and say which invariants held.

    schedule, plan: replay those picks and those faults in place of what the seed would choose.
    make_strategy: another strategy than the scenario names: a copy with a safeguard taken out, say.
    Raises whatever the code under test raises that it should not.
    """
    chosen = Seeded(seed) if schedule is None else schedule
    faults = Faults(scenario.rates, seed, scenario.spans, plan)
    loop = SimLoop(chosen, limit_s=scenario.limit_s, max_steps=scenario.max_steps)
    network = Network(faults, latency, trace)
    services = _services(scenario, seed, network, faults)
    make = make_strategy or _make(scenario.strategy)
    stage = Stage(scenario, seed, loop, services, faults, make, Watch(trace))
    try:
        try:
            loop.run_until_complete(stage.run())
        except (SimDeadlock, SimTimeout) as error:
            stage.watch.breaks.append(Break(Invariant.DRAINS, loop.time(), None, str(error)))
        else:
            stage.accounts.check_counts(loop.time())
        return Played(
            seed=seed,
            breaks=tuple(stage.watch.breaks),
            broken=tuple(each for each in stage.watch.breaks if each.invariant in stage.promised),
            states=dict(stage.tally.counts),
            starts=sum(stage.watch.starts.values()),
            lives=stage.lives,
            virtual_s=loop.time(),
            steps=loop.steps,
            picks=chosen.picks,
            fired=faults.fired,
        )
    finally:
        loop.close()
        services.close()
        stage.close()


def _services(scenario: Scenario, seed: int, network: Network, faults: Faults) -> Services:
    fifo = _class_of(scenario.strategy.name).needs_fifo
    if scenario.backend == "sqlite":
        return SqliteServices(faults, seed)
    if scenario.backend == "aws":
        return AwsServices(network, seed, fifo, scenario.tasks > MANY_TASKS)
    return SimServices(network, fifo)


_class_of: Final = functools.cache(strategy_class)
"""To find a class takes longer than some of a schedule's calls."""


def _make(plugin: Plugin) -> MakeStrategy:
    cls = _class_of(plugin.name)
    return lambda ledger, worker, clock: cls(ledger, worker, clock, **plugin.options)


_Part = TypeVar("_Part")
_Found = TypeVar("_Found")


@contextmanager
def processes(
    function: Callable[[_Part], _Found], jobs: int | None
) -> Iterator[Callable[[Iterable[_Part]], Iterator[_Found]]]:
    """What plays parts on `jobs` processes (None: one for each core), and gives their findings in order.

    function: at the top level of a module, for processes that import it.
    """
    jobs = jobs or processors()
    if jobs == 1:
        yield functools.partial(map, function)
        return
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), initializer=_begin_process)
    try:
        yield functools.partial(pool.map, function)
    finally:
        pool.shutdown(cancel_futures=True)


def _begin_process() -> None:
    """In each process of the pool, before anything else."""
    # an interrupt reaches every process of a terminal; the one that began the search deals with it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A process that is killed can't shut its pool down, and that would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


class Counterexample(msgspec.Struct, frozen=True):
    """All that decides how it goes.

    seed: decides how long tasks take and how far each fault goes; not which faults, nor who runs next.
    faults: those that fire. picks: who runs next, as `kon.backends.sim.schedule.Given` repeats it.
    """

    invariant: Invariant
    scenario: Scenario
    seed: int
    faults: tuple[Fired, ...]
    picks: tuple[int, ...]

    @property
    def strategy(self) -> Plugin:
        return self.scenario.strategy

    @property
    def deviations(self) -> int:
        """How often something else runs than what is first in line."""
        return sum(1 for pick in self.picks if pick)

    def replay(self, trace: Trace | None = None, make_strategy: MakeStrategy | None = None) -> Played:
        return play(
            self.scenario,
            self.seed,
            schedule=Given(self.picks),
            plan=self.faults,
            trace=trace,
            make_strategy=make_strategy,
        )

    def break_in(self, played: Played) -> Break | None:
        """The first break of its invariant, or None when that held."""
        return next((each for each in played.breaks if each.invariant is self.invariant), None)


def taken_from(played: Played, scenario: Scenario, invariant: Invariant) -> Counterexample:
    """What happened there, as something that can be replayed; the rates have done their work."""
    leased = scenario.leased or scenario.rates.second_client > 0.0
    quiet = msgspec.structs.replace(scenario, rates=FaultRates(), leased=leased)
    picks = without_trailing_zeros(played.picks)
    return Counterexample(invariant, quiet, played.seed, tuple(played.fired), picks)


def without_trailing_zeros(picks: Sequence[int]) -> tuple[int, ...]:
    """Picks without those at the end that change nothing: a schedule without picks goes on in order."""
    end = len(picks)
    while end and not picks[end - 1]:
        end -= 1
    return tuple(picks[:end])
