"""Faults: what may go wrong in a simulated run, how often, and how badly.

Each fault of each service has a stream of randomness of its own, so that turning one up or off leaves
the others where they were. What fired is written down, and can be repeated fault by fault.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import Any, Final

import msgspec

from kon.core.errors import ConfigurationError


class FaultRates(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The chance of each fault at each occasion for it, from 0 to 1; 0 switches it off.

    Each is documented behaviour of SQS standard, of DynamoDB, of a network or of a machine.
    """

    # the queues
    duplicate: float = 0.0
    """A message on the task queue is received a second time: at once, or while its first copy runs."""
    answer_duplicate: float = 0.0
    """Rate on the queue of answers."""
    resurrect: float = 0.0
    """A message comes back long after its ack."""
    delay: float = 0.0
    """A message that was sent can't be had for a while."""
    reorder: float = 0.0
    """A receive takes messages in any order instead of the oldest first."""
    receive_lost: float = 0.0
    """A message falls out of the reply to a receive; it comes back after its visibility timeout."""
    ack_failed: float = 0.0
    """One item of an ack fails inside the service; the message stays."""
    ack_reply_lost: float = 0.0
    """An ack takes place, its reply is lost, and the repeat finds the message gone."""
    send_reply_lost: float = 0.0
    """A send takes place, its reply is lost, and the repeat stores the messages again."""
    handle_expired: float = 0.0
    """A receipt handle is refused although nobody else has received the message yet."""
    stale_ack_deletes: float = 0.0
    """An ack with a stale handle deletes the message, while somebody else holds it."""
    stale_ack_agrees: float = 0.0
    """An ack with a stale handle is said to have succeeded, and did nothing."""
    stale_depth: float = 0.0
    """The depth that a queue reports was true some time ago."""
    depth_low: float = 0.0
    """A queue reports that it holds nothing, whatever it holds."""
    receive_missed: float = 0.0
    """A receive finds nothing although there are messages, as a short poll that asks few servers."""

    # the tables
    write_reply_lost: float = 0.0
    """A write takes place, its reply is lost, and the repeat meets the record of the first."""
    stale_read: float = 0.0
    """A read of one row returns what stood there some time ago."""
    throttle: float = 0.0
    """One item of a batch is turned down for now, while others go through."""

    # any service
    error_after: float = 0.0
    """A call takes place, and so do its repeats, but no reply arrives: BackendUnavailable."""
    error_before: float = 0.0
    """Neither a call nor its repeats arrive: BackendUnavailable."""
    partition: float = 0.0
    """A host loses its way to the queues or to the tables for a while; at times only the way back."""
    denied: float = 0.0
    """A right is missing for some seconds: one that was just given is not known everywhere at once."""
    denied_for_good: float = 0.0
    """A right is missing. What ends for want of it is started again, and at last somebody gives it."""

    # the hosts; the occasion is one life of one host, and the scenario sees to it
    crash: float = 0.0
    """A worker ends by SIGKILL at any await."""
    pause: float = 0.0
    """A worker stands still for longer than its lease, and goes on as if nothing had been."""
    skew: float = 0.0
    """A worker's clock is off."""
    client_crash: float = 0.0
    """The client ends by SIGKILL at any await, and is started again."""
    client_pause: float = 0.0
    """The client stands still for longer than leases and visibility timeouts, and goes on."""
    second_client: float = 0.0
    """Another client is started for the run, and takes over where the first stands still for too long."""
    stop: float = 0.0
    """A worker is told to stop at any await, drains, and another takes its place."""
    late: float = 0.0
    """A worker joins when the others have been at work for a while."""
    cancel: float = 0.0
    """Somebody cancels the run at any step."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            rate = getattr(self, name)
            if not 0.0 <= rate <= 1.0:  # NaN fails this too
                raise ConfigurationError(f"the fault rate {name} is {rate}; a rate is from 0 to 1")

    def active(self) -> dict[str, float]:
        """The faults that are switched on, with their rates."""
        return {name: rate for name in self.__struct_fields__ if (rate := getattr(self, name)) > 0.0}


FAULTS: Final[tuple[str, ...]] = FaultRates.__struct_fields__
"""Every fault by name."""


class FaultSpans(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far a fault goes where it fires, in seconds: each is the most, drawn evenly from 0."""

    duplicate_s: float = 60.0
    resurrect_s: float = 3_600.0
    delay_s: float = 60.0
    stale_s: float = 2.0
    partition_s: float = 90.0
    skew_s: float = 1.0

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            span_s = getattr(self, name)
            if not 0.0 <= span_s < float("inf"):
                raise ConfigurationError(f"the fault span {name} is {span_s}; it is 0 seconds or more")


class Fired(msgspec.Struct, frozen=True, array_like=True):
    """A fault that fired: on the nth occasion that this service had for it, counted from 0."""

    fault: str
    service: str
    nth: int


class Faults:
    """Decides, occasion by occasion, which faults fire.

    seed: decides which fire, and how far each goes.
    plan: when given, just these fire, whatever the rates; for replaying, shrinking and for trying
        every single fault.
    """

    def __init__(
        self,
        rates: FaultRates | None = None,
        seed: int | str = 0,
        spans: FaultSpans | None = None,
        plan: Iterable[Fired] | None = None,
    ) -> None:
        self.spans = spans or FaultSpans()
        self.fired: list[Fired] = []
        self._seed = seed
        self._plan = None if plan is None else frozenset(plan)
        if self._plan is None:
            self._rates = (rates or FaultRates()).active()
        else:
            self._rates = {planned.fault: 1.0 for planned in self._plan}
        self._streams: dict[tuple[str, str], _Stream] = {}

    @property
    def any(self) -> bool:
        """Whether any fault can fire at all."""
        return bool(self._rates)

    def can_fire(self, fault: str) -> bool:
        return fault in self._rates

    def fires(self, fault: str, service: str) -> Far | None:
        """Whether this fault fires on this occasion: None, or the randomness to draw its extent from.

        That randomness depends on the seed, the fault, the service and the occasion and on nothing
        else, so that a fault goes equally far in a replay in which others have been left out.
        """
        if fault not in self._rates:
            return None
        stream = self._streams.get((fault, service))
        if stream is None:
            stream = self._streams[fault, service] = self._open(fault, service)
        nth = stream.occasions
        stream.occasions = nth + 1
        if stream.planned is None:
            if stream.random() >= stream.rate:
                return None
        elif nth not in stream.planned:
            return None
        self.fired.append(Fired(fault, service, nth))
        return Far(f"{self._seed}:{fault}:{service}:{nth}")

    def occasions(self) -> dict[tuple[str, str], int]:
        """How many occasions each fault that is on has had so far, by fault and service."""
        return {at: stream.occasions for at, stream in self._streams.items()}

    def _open(self, fault: str, service: str) -> _Stream:
        planned = None
        if self._plan is not None:
            planned = {each.nth for each in self._plan if (each.fault, each.service) == (fault, service)}
        draw = Random(f"{self._seed}:{fault}:{service}").random
        return _Stream(self._rates[fault], planned, draw)


class Far:
    """How far a fault goes: randomness of its own, made when it is asked for, as most faults never do."""

    __slots__ = ("_drawn", "_seed")

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._drawn: Random | None = None

    def random(self) -> float:
        return self._randomness().random()

    def uniform(self, low: float, high: float) -> float:
        return self._randomness().uniform(low, high)

    def randrange(self, start: int, stop: int) -> int:
        return self._randomness().randrange(start, stop)

    def shuffle(self, items: list[Any]) -> None:
        self._randomness().shuffle(items)

    def _randomness(self) -> Random:
        if self._drawn is None:
            self._drawn = Random(self._seed)
        return self._drawn


class _Stream:
    """The occasions of one fault at one service. planned: those on which it fires; None where it is drawn."""

    __slots__ = ("occasions", "planned", "random", "rate")

    def __init__(self, rate: float, planned: set[int] | None, draw: Callable[[], float]) -> None:
        self.rate = rate
        self.planned = planned
        self.random = draw
        self.occasions = 0
