"""Values: a task, its states, its outcome, and how they travel.

A task is known by its index in its run, so that submitting it again makes the same task. Tasks
travel packed in a `Bundle`, outcomes packed in `Answers`; both are JSON arrays, because a person
must be able to read a queue with any tool.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from typing import Any, Final, TypeVar

import msgspec

from kon.core.errors import CodecError, ConfigurationError

_Value = TypeVar("_Value")

MAX_ATTEMPTS: Final = 32
"""No task may fail more often."""

MAX_TASKS: Final = 1 << 39
"""Tasks of a run, at most: their indexes leave room in a key; see `attempt_key`."""

LAST_ATTEMPT: Final = 1 << 13
"""The highest number of an attempt. A stop of a worker adds an attempt to those that may fail, and a rerun of
a finished run adds all of them once more."""

_LOW_SHIFT: Final = 48
_LOW_ATTEMPTS: Final = 32
_HIGH_SHIFT: Final = 39


class State(enum.StrEnum):
    """Where a task stands. `TRANSITIONS` says which step may follow which."""

    QUEUED = "queued"  # submitted; a message for it exists
    CLAIMED = "claimed"  # a worker holds it, before or while it runs
    RETRY = "retry"  # an attempt failed and another is due after its backoff
    DONE = "done"  # it ran to its end and its result is kept
    FAILED = "failed"  # the last attempt allowed failed; its error is kept
    DEAD = "dead"  # its message was received too often and went to the dead-letter queue
    LOST = "lost"  # no message and no outcome are left: the strategy gave it up in a crash
    CANCELLED = "cancelled"  # the run was cancelled before it ended


TRANSITIONS: Final[dict[State, frozenset[State]]] = {
    State.QUEUED: frozenset({State.CLAIMED, State.DEAD, State.LOST, State.CANCELLED}),
    # claimed -> claimed is a takeover of a passed lease; -> queued a graceful stop giving it back
    State.CLAIMED: frozenset(
        {
            State.CLAIMED,
            State.QUEUED,
            State.RETRY,
            State.DONE,
            State.FAILED,
            State.DEAD,
            State.LOST,
            State.CANCELLED,
        }
    ),
    State.RETRY: frozenset({State.CLAIMED, State.DEAD, State.LOST, State.CANCELLED}),
    State.DONE: frozenset(),
    # a person may ask for failed, dead and lost tasks again (--rerun-failed)
    State.FAILED: frozenset({State.QUEUED}),
    # the worker that held a dead task may still finish it: done is better news, and true
    State.DEAD: frozenset({State.DONE, State.FAILED, State.QUEUED}),
    State.LOST: frozenset({State.DONE, State.FAILED, State.QUEUED}),
    State.CANCELLED: frozenset({State.QUEUED}),
}

FINAL: Final = frozenset({State.DONE, State.FAILED, State.DEAD, State.LOST, State.CANCELLED})
"""States in which a task is accounted for."""


class Task(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One thing to do: `body` is what its kind understands, a JSON value."""

    index: int
    body: Any = None
    attempt: int = 1


class Segment(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Neighbouring tasks, from `first` to before `upto`, whose rows lie in pages of the ledger.

    rows: tasks in a page. The page of task i begins with task `first + (i - first) // rows * rows`.
    """

    first: int
    upto: int
    rows: int


class Bundle(msgspec.Struct, frozen=True, array_like=True):
    """The body of one message: tasks of one run.

    receives: how often these tasks were received in messages that this one replaces, deferrals
        and returns by a worker that was told to stop left out. A queue counts only its own message, so
        a replacement carries the count on.
    stops: attempts of these tasks that ended because their worker was told to stop. They do not count
        among the attempts that are allowed.
    segment: where the tasks' rows are, for runs whose pages follow the messages; None for rows of their own.
    moves: how often a worker gave these tasks back before it started them. It makes the message differ from
        the one that it replaces: a FIFO queue drops what it was sent before.
    """

    run: str
    tasks: list[Task]
    receives: int = 0
    stops: int = 0
    segment: Segment | None = None
    moves: int = 0


class Outcome(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How one attempt at a task ended.

    state: DONE, FAILED or RETRY.
    result: a JSON value, for DONE; what a failed attempt left behind, if its kind has that.
    error: one line, for FAILED and RETRY.
    started_s, ended_s: seconds since the epoch on the worker's clock.
    """

    index: int
    attempt: int
    state: State
    result: Any = None
    error: str | None = None
    started_s: float = 0.0
    ended_s: float = 0.0


CLIENT: Final = "client"
"""The worker's name in answers that the client makes for tasks that nobody answers any more."""

DEAD_LETTERS: Final = "dead-letter queue"
"""The worker's name in answers that the client makes from dead letters."""

LEDGER: Final = "ledger"
"""The worker's name in outcomes that the client has read back from the strategy's table."""

NOT_WORKERS: Final = frozenset({CLIENT, DEAD_LETTERS, LEDGER})
"""Who else may stand as the worker of an outcome."""


class Answers(msgspec.Struct, frozen=True, array_like=True):
    """The body of one message on the response queue: outcomes from one worker."""

    worker: str
    outcomes: list[Outcome]


def attempt_key(index: int, attempt: int) -> int:
    """The ledger key of one attempt, for strategies that claim each attempt on its own.

    The first attempt's key is the task's index itself. Keys stay below 2**53, so that they
    survive any JSON reader, and bit 47 is never set: `kon.engine.layout` marks its own keys by it.

        bit  52       48  47  46          39  38              0
             low 5 bits |  0 | high 8 bits  | the task's index     of the attempt, counted from 0

    Raises ValueError for a task or an attempt whose key would be another's.
    """
    if not (0 <= index < MAX_TASKS and 1 <= attempt <= LAST_ATTEMPT):
        raise ValueError(f"task {index}, attempt {attempt}: no row of a ledger is theirs")
    high, low = divmod(attempt - 1, _LOW_ATTEMPTS)
    return index | high << _HIGH_SHIFT | low << _LOW_SHIFT


def attempt_keys(tasks: Sequence[Task]) -> list[int]:
    """`attempt_key` of each."""
    return [
        task.index if task.attempt == 1 else attempt_key(task.index, task.attempt)  # as good as always
        for task in tasks
    ]


def task_of_key(key: int) -> int:
    """The index of the task that `attempt_key` has made this key for."""
    return key & (MAX_TASKS - 1)


def task_id(run: str, index: int) -> str:
    """The name of a task for people: a pure function of run and index."""
    return f"{run}/{index}"


_encoder = msgspec.json.Encoder()
_bundles = msgspec.json.Decoder(Bundle)
_answers = msgspec.json.Decoder(Answers)
_outcomes = msgspec.json.Decoder(Outcome)


def encode(value: Bundle | Answers | Outcome) -> bytes:
    return _encoder.encode(value)


def decode_bundle(body: bytes) -> Bundle:
    """Raises CodecError for anything that `encode` did not write."""
    return _decode(_bundles, body, "a bundle of tasks")


def decode_answers(body: bytes) -> Answers:
    """Raises CodecError for anything that `encode` did not write."""
    return _decode(_answers, body, "a packet of answers")


def decode_outcome(body: bytes) -> Outcome:
    """Raises CodecError for anything that `encode` did not write."""
    return _decode(_outcomes, body, "an outcome")


def _decode(decoder: msgspec.json.Decoder[_Value], body: bytes, what: str) -> _Value:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CodecError(f"a message is not {what}: {error} (it starts {body[:60]!r})") from error


def encode_body(body: Any) -> bytes:
    """The body as JSON, on one line. Raises ConfigurationError for what a worker could not get as it is."""
    try:
        encoded = _encoder.encode(body)
    except (TypeError, ValueError, RecursionError, OverflowError) as error:
        raise ConfigurationError(f"expected a JSON value, found {body!r:.80} ({error})") from error
    # JSON has no NaN and no infinity: the encoder writes null for them, and a worker would get that
    if b"null" in encoded and not _finite(body):
        raise ConfigurationError(f"expected finite numbers, found {body!r:.80}")
    return encoded


def _finite(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(_finite(key) and _finite(each) for key, each in value.items())
    if isinstance(value, list | tuple | set | frozenset):
        return all(_finite(each) for each in value)
    return True
