"""What a task does: the abstract class of kinds. Kinds know nothing of queues.

A kind describes itself: the options that it takes, how the body of a task is written, and what it makes
up. Whatever reads experiment files asks the kind, and so knows no kind's name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import msgspec

from kon.core.errors import ConfigurationError, describe
from kon.core.objects import ObjectStore


class Spent(msgspec.Struct, frozen=True):
    """What the processes of an attempt have used, as the system reports them at their end.

    peak_bytes: the most memory that one of them had; None where it was no more than their worker had, as the
        system counts that in.
    """

    cpu_s: float
    peak_bytes: int | None = None


class Attempt(msgspec.Struct):
    """What a kind may know of the attempt it makes.

    spent: set by a kind that knows; it is recorded when the attempt has ended.
    """

    run: str
    index: int
    number: int
    spent: Spent | None = None


class Several(NamedTuple):
    """Stands in place of one body for all that `make` makes, the same ones each time."""

    make: Callable[[], Iterator[Any]]


class MadeUp(NamedTuple):
    """Bodies that a kind makes up.

    make: makes every body, in order, the same ones each time.
    samples: bodies that stand for all others, so that not each has to be looked at; None where each must be.
    signature: tells these bodies from others, where there are samples.
    """

    make: Callable[[], Iterator[Any]]
    samples: Sequence[Any] | None = None
    signature: str = ""


def each_number(numbers: range, make: Callable[[int], Any]) -> MadeUp:
    """A body for each number; the first and the last number stand for the others."""
    ends = [(number, make(number)) for number in (numbers[0], numbers[-1])]
    return MadeUp(lambda: map(make, numbers), [body for _, body in ends], f"{numbers!r} {ends!r}")


class Kind(ABC):
    """One kind of work, made once for a worker and used for all its tasks.

    The constructor gets the workload's own options (for `shell`: command, cwd, env, ...) and from a
    worker also `slots`, how many tasks it will run at once. It raises ConfigurationError for an
    option that it does not know or can't use, best an OptionError that says which.

    The first line of a kind's docstring says in lists what it does.
    """

    name: ClassVar[str]
    takes: ClassVar[type[msgspec.Struct] | None] = None
    """The options: a struct derived from `kon.core.options.Options`, whose docstring describes each. None:
    only the constructor knows them, so that no editor does."""
    made_from: ClassVar[type[msgspec.Struct] | None] = None
    """The keys that stand next to `count` and say what is made up; see `make_up`."""
    items_as_text: ClassVar[bool] = False
    """Whether words and numbers in a list of items are taken as they are written: `1.10` stays `1.10`."""
    virtual_time: ClassVar[bool] = False
    """Whether it does nothing but wait, by the running loop's clock, and so may run in virtual time."""

    @abstractmethod
    def __init__(self, options: Mapping[str, Any]) -> None: ...

    @abstractmethod
    def check(self, body: Any) -> None:
        """Raise ConfigurationError when no attempt at this body could ever succeed (a wrong type, NaN)."""

    def shared_keys(self, body: Any) -> Sequence[str]:
        """Keys under which this body's task stores something, where another's may store under them too.

        None by default: most kinds name what they store by the run and the task's index. A workload in which
        two bodies have one of them in common is refused.
        """
        return ()

    def body_of_line(self, line: str) -> Any:
        """The body, or `Several`, that a line of a workload file stands for: by default, a JSON value.

        The line is neither blank nor a comment. This and the next three raise ConfigurationError with what
        was expected and what was found.
        """
        try:
            return msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
            raise ConfigurationError(
                f"expected a JSON value, found {describe(line.strip())} ({error})"
            ) from error

    def body_of_item(self, item: Any) -> Any:
        """The body, or `Several`, that an item in the experiment file stands for."""
        return item

    def body_of_number(self, number: int) -> Any:
        """The body that a number of a range stands for."""
        return number

    def body_of_path(self, path: str) -> Any:
        """The body that a file stands for which a glob has found."""
        return path

    def body_of_count(self, number: int) -> Any:
        """The body of one of the tasks that `make_up` makes up, by its number from 0."""
        return number

    def make_up(self, count: int, given: Mapping[str, Any], seed: int) -> MadeUp:
        """The bodies of `count` tasks: by default, tasks that differ in their number alone.

        given: the values of the keys that `made_from` has, of the types that it says; those that were left
        out are missing. seed: equal seeds make equal tasks. Raises OptionError for values that can't be used.
        """
        return each_number(range(count), self.body_of_count)

    async def open(self, objects: ObjectStore) -> None:
        """Called once, before the first attempt, with the run's object store. Most kinds need none."""
        return

    def duration_s(self, body: Any) -> float | None:
        """How long the task ideally takes, when that is known beforehand; else None."""
        return None

    def output(self, index: int) -> Mapping[str, str] | None:
        """What the task of that index has written so far, by stream, where it runs here; else None."""
        return None

    async def ready(self) -> None:
        """Return when the next task may start. Called before each; most kinds never wait."""
        return

    @abstractmethod
    async def execute(self, body: Any, attempt: Attempt) -> Any:
        """Do it and return a JSON value. Any exception is a failed attempt; KindError says it best.

        Must be cancellable at any await and leave no process behind: a task timeout and a hard stop
        cancel it.
        """

    def execute_now(self, bodies: Sequence[Any]) -> list[Any] | None:
        """Results for a whole batch, where each takes microseconds; None to have them run one by one.

        Only for tasks without effects: it is called on the event loop's own thread, may not wait
        or raise, and a start that a SIGKILL leaves unrecorded must be as if it had never been.
        """
        return None

    async def close(self) -> None:
        """Let go of pools and processes. Called once, after the last attempt."""
        return
