"""De-duplication: the abstract class of strategies, and the values they speak in.

A strategy decides which deliveries run and whose result stands. It sees batches, and it reaches
the world only through the ledger that it is given.
"""

from __future__ import annotations

import inspect
import math
import typing
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import msgspec

from kon.core.clock import Clock
from kon.core.errors import ConfigurationError
from kon.core.ledger import Ledger, Record
from kon.core.task import Outcome, Task


class Guarantee(msgspec.Struct, frozen=True):
    """What a strategy promises, however messages and hosts misbehave. The simulator holds it to each.

    nothing_lost: every task ends as done, failed or dead, whatever crashes.
    one_start: no attempt at a task is started twice, ever.
    one_start_while_held: no second start while the first holder's lease holds.
    one_result: at most one result for each task is kept.
    """

    nothing_lost: bool
    one_start: bool
    one_start_while_held: bool
    one_result: bool


class Claim(msgspec.Struct, frozen=True, gc=False):
    """RUN: this worker may start the task.

    token: what the commit will be fenced by.
    until_s: when the right to start ends, in seconds since the epoch on this worker's clock.
    """

    task: Task
    token: str = ""
    until_s: float = math.inf


class Skip(msgspec.Struct, frozen=True, gc=False):
    """SKIP: it has been done, or begun by another who answers for it. Ack it.

    outcome: to be answered again, where the ledger has it; the first answer may have been lost.
    """

    outcome: Outcome | None = None


class Defer(msgspec.Struct, frozen=True, gc=False):
    """DEFER: another holds it for now. Look again after `delay_s` seconds."""

    delay_s: float


Verdict = Claim | Skip | Defer


class Strategy(ABC):
    """One way of de-duplicating, made once for a worker. The first line of its docstring says how it works.

    `admit`, `commit`, `renew` and `release` take batches in which no task stands twice, and answer
    item by item, in order. They may be called while an earlier call of them is still waiting.
    """

    name: ClassVar[str]
    guarantee: Guarantee  # of the class, or of the instance where an option changes it
    uses_ledger: ClassVar[bool] = True
    needs_fifo: ClassVar[bool] = False
    """Whether it counts on a queue that drops repeated sends by itself (`QueueLimits.fifo`)."""
    defers: ClassVar[bool] = False
    """Whether it may answer `Defer`. A FIFO queue can't delay a message, so that there each deferral would
    count a receipt, until a task that runs well is dead."""
    takeovers: int = 0
    """Claims so far that somebody had held before, and had not given back; for those who watch."""

    def __init__(self, ledger: Ledger, worker: str, clock: Clock) -> None:
        """`worker` is unique for each life of a worker: tokens are made from it.

        Strategies with options take them as keyword arguments after these three, with defaults and
        units in their names, and raise ConfigurationError for a value that can't be used.
        """
        self.ledger = ledger
        self.worker = worker
        self.clock = clock
        self._tokens = 0

    @property
    def lease_s(self) -> float | None:
        """How long a claim holds without `renew`, in seconds; None when claims do not run out."""
        return None

    @property
    def forgets_at_once(self) -> bool:
        """Whether nobody finds a claim any more that has been released.

        With stale reads, a strategy that admits by what it reads may find it, take the task for begun, and
        drop its message, as read_then_write(record=before) does.
        """
        return self.guarantee.one_result or not self.uses_ledger

    @abstractmethod
    async def admit(self, tasks: Sequence[Task]) -> list[Verdict]:
        """Before any of these tasks runs: may it?"""

    @abstractmethod
    async def commit(self, claims: Sequence[Claim], outcomes: Sequence[Outcome]) -> list[Outcome | None]:
        """After they ran, before anyone is told: the outcome that stands for each.

        The very outcome given where it is kept, another's where that one stands, None where the
        claim was lost in the meantime: then this worker says nothing and leaves the message be.
        An outcome in state RETRY ends the attempt, not the task.
        """

    async def renew(self, claims: Sequence[Claim]) -> list[Claim | None]:
        """Hold claims longer: each with its new `until_s`, or None where it was lost."""
        return list(claims)

    async def release(self, claims: Sequence[Claim]) -> None:
        """Give back claims of tasks that were never started."""
        return

    async def recall(self, indexes: Sequence[int], attempts: range) -> list[Outcome | Defer | None]:
        """Say what the ledger knows of tasks that nobody answers, before the client calls them lost.

        attempts: the numbers that their attempts may have.
        The outcome that stands; a `Defer` while somebody's claim may still hold; None where the ledger
        knows nothing, as with a strategy that keeps no outcomes.
        """
        return [None] * len(indexes)

    def new_token(self) -> str:
        """A token that no other call, worker or life of a worker has."""
        self._tokens += 1
        return f"{self.worker}:{self._tokens}"


def check_queue(strategy: type[Strategy], fifo: bool) -> None:
    """Raises ConfigurationError for a strategy and a queue that do not go together.

    fifo: whether the queue drops repeated sends, and can't delay a message.
    """
    if strategy.needs_fifo and not fifo:
        raise ConfigurationError(
            f'the strategy "{strategy.name}" needs a queue that drops repeated sends by itself, and this '
            "backend has none. Take the backend aws with `queue: fifo`, or another strategy, such as lease"
        )
    if strategy.defers and fifo:
        raise ConfigurationError(
            f'the strategy "{strategy.name}" puts off tasks that another worker runs, and a FIFO queue '
            "can't: each time would count as a receipt, and a task that runs long would be called dead. "
            "Leave out `queue: fifo`, or take another strategy, such as result_once"
        )


def is_ours(found: Record | None, token: str) -> bool:
    """Whether a conditional write took place: at once (nothing found), or in an earlier try whose
    reply was lost, so that the retry met our own record."""
    return found is None or found.token == token


def strategy_options(cls: type[Strategy]) -> dict[str, Any]:
    """The options a strategy takes, by name, with their defaults: its keyword arguments."""
    return {p.name: p.default for p in _keywords(cls) if p.kind is not p.VAR_KEYWORD}


def declared_options(cls: type[Strategy]) -> type[msgspec.Struct] | None:
    """A strategy's keyword arguments as a struct; None for one that takes any (`**options`)."""
    taken = _keywords(cls)
    if any(p.kind is p.VAR_KEYWORD for p in taken):
        return None
    try:
        hints = typing.get_type_hints(cls.__init__, include_extras=True)
    except (NameError, TypeError):  # annotations that only a type checker can follow
        hints = {}
    fields: list[Any] = []
    for each in taken:
        hint = hints.get(each.name, Any)
        fields.append((each.name, hint) if each.default is each.empty else (each.name, hint, _field(each)))
    return msgspec.defstruct("Options", fields, kw_only=True)


def _field(parameter: inspect.Parameter) -> Any:
    return msgspec.field(default_factory=lambda: parameter.default)


def _keywords(cls: type[Strategy]) -> list[inspect.Parameter]:
    return list(inspect.signature(cls.__init__).parameters.values())[4:]
