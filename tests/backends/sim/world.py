"""What the tests of the simulator share: running a coroutine in virtual time, and services to call."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from kon.backends.sim.backend import SimQueue
from kon.backends.sim.faults import FaultRates, Faults, FaultSpans, Fired
from kon.backends.sim.latency import Latency
from kon.backends.sim.ledger import SimLedger
from kon.backends.sim.loop import SimLoop, simulate
from kon.backends.sim.messages import Messages
from kon.backends.sim.network import Network
from kon.backends.sim.trace import Trace
from kon.core.queue import Message
from kon.core.task import Bundle, Task, encode

_Result = TypeVar("_Result")

VISIBILITY_S = 30.0


def run(main: Coroutine[Any, Any, _Result], loop: SimLoop | None = None) -> _Result:
    """Run in order, within an hour of virtual time."""
    return simulate(main, loop or SimLoop(limit_s=3_600.0, max_steps=1_000_000))


class World:
    """A task queue with its dead letters, a table, and the network before them, all traced."""

    def __init__(
        self,
        rates: FaultRates | None = None,
        seed: int = 0,
        spans: FaultSpans | None = None,
        latency: Latency | None = None,
        max_receives: int = 5,
        plan: Iterable[Fired] | None = None,
    ) -> None:
        self.faults = Faults(rates, seed, spans, plan)
        self.trace = Trace()
        self.network = Network(self.faults, latency, self.trace)
        self.dead = SimQueue(Messages("dead", self.network, VISIBILITY_S))
        kept = Messages("tasks", self.network, VISIBILITY_S, max_receives, self.dead.messages)
        self.queue = SimQueue(kept)
        self.ledger = SimLedger("ledger", self.network)


def messages(indexes: Iterable[int], delay_s: float = 0.0) -> list[Message]:
    """A message for each task."""
    return [Message(encode(Bundle("run", [Task(index)])), delay_s) for index in indexes]
