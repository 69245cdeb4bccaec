"""The one error tree.

A message says what happened, to which task or line, what happens next, and how to mend it.
The command line turns each into one line on stderr and the exit code that stands here; anything
that is not a `KonError` is a fault of kon's own and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Final, TypeVar

_Thing = TypeVar("_Thing")


class KonError(Exception):
    """The root of every error that kon raises on purpose."""

    exit_code: ClassVar[int] = 1


class ConfigurationError(KonError):
    """The experiment, the command line or the place it works in can't be used as it is."""

    exit_code = 2


class WorkloadError(ConfigurationError):
    """A workload file is missing, empty or has a bad line; nothing was submitted from it."""


class UnknownPlugin(ConfigurationError):
    """No strategy, kind or backend goes by that name."""


class MessageTooLarge(ConfigurationError):
    """A task does not fit into one message of this backend."""


class StoreError(KonError):
    """The run's database can't be used: locked, full, corrupt, or made by another kon."""

    exit_code = 2


class StoreVersionError(StoreError):
    """The database was written by a kon with another layout; it is left untouched."""


class BackendRefused(StoreError):
    """The service answers, and will not do it: no credentials or rights, or what it needs is not there.

    To ask again would not help, so that nobody does.
    """

    exit_code = 3


class BackendDenied(BackendRefused):
    """The service refuses whoever asks, whatever it is that is asked for: no right to it, or no credentials
    that are good. A right that was just given takes a few seconds to be known everywhere."""


class BackendUnavailable(KonError):
    """Queue, ledger or store do not answer, or are asked for too much at a time; asking again may help."""

    exit_code = 3


class OverBudget(KonError):
    """A run would cost more than it may, or has done so: it was not begun, or is paused."""

    exit_code = 4


class LeftBehind(KonError):
    """The work is done and recorded, but something that was to be deleted after it is still there."""

    exit_code = 5


class CollectorUnavailable(KonError):
    """The collector of traces does not answer, or does not take them; what is recorded stays as it is."""

    exit_code = 3


class WorkersFailed(KonError):
    """The workers do not stay up, so the run can't go on; its tasks are still queued."""


class WorkersCantStart(WorkersFailed):
    """The workers' configuration, or the place that they work in, can't be used as it is."""

    exit_code = 2


class WorkersRefused(WorkersFailed):
    """The backend refuses the workers, or has not answered them for as long as they are patient."""

    exit_code = 3


class WorkersDenied(WorkersRefused):
    """The workers may not do what they have to: a right is missing, or their credentials are no good."""


class ClientGone(KonError):
    """A host has no client to work for: none came, or it ended before every run was over."""


class ClientReplaced(KonError):
    """Another client has taken the run over, as this one's lease had passed; this one writes nothing more."""

    exit_code = 3


class Interrupted(KonError):
    """The client was told to stop; the run goes on or can be taken up again."""

    exit_code = 130


class TaskFailed(KonError):
    """A task asked for by `kon.map` or `kon.gather` ended as failed, dead, lost or cancelled.

    index: the task's place among the items. state: how it ended. result: what its last attempt left
    behind, a traceback for example. failures: where this one speaks for several, each of them.
    """

    def __init__(
        self,
        message: str,
        index: int = 0,
        state: str = "failed",
        result: Any = None,
        failures: Sequence[TaskFailed] = (),
    ) -> None:
        super().__init__(message)
        self.index = index
        self.state = state
        self.result = result
        self.failures = tuple(failures)


class KindError(KonError):
    """One attempt at a task failed; the message is what the task's record will say.

    result: what the attempt left behind, a JSON value: the output of a command, a traceback.
    is_final: another attempt would end the same way, so that none is made.
    """

    def __init__(self, message: str, result: Any = None, *, is_final: bool = False) -> None:
        super().__init__(message)
        self.result = result
        self.is_final = is_final


class CodecError(KonError):
    """A message body is not one that kon wrote."""


def first_cause(error: BaseException) -> BaseException:
    """The first single error in a group of errors, as task groups raise them."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


@contextmanager
def ungrouped() -> Iterator[None]:
    """Within it, an error that task groups raise as a group comes out by itself: callers name it in `except`.

    Errors that came with it are in its notes.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        cause = first_cause(group)
        for other in group.exceptions[1:]:
            cause.add_note(f"with it: {first_cause(other)!r:.300}")
        raise cause from cause.__cause__


_OF_ALL: Final = (Interrupted, OverBudget, ClientReplaced, WorkersFailed, KindError)
"""Errors after which the next thing would fare no better, or must not be begun."""


async def each_of(
    things: Sequence[_Thing],
    work: Callable[[_Thing], Awaitable[None]],
    what: str,
    on_failure: Callable[[_Thing, KonError], None] = lambda thing, error: None,
) -> list[KonError]:
    """Do the work for each thing, whatever becomes of the others; what went wrong, in order.

    Two outages in a row end it, as each was waited for: the last error then counts the rest, called
    `what`, such as "run". Raises at once what is about all of them, and what is no KonError.
    """
    failures: list[KonError] = []
    outages = 0
    for number, thing in enumerate(things, start=1):
        try:
            await work(thing)
        except Exception as error:
            cause = first_cause(error)
            if not isinstance(cause, KonError) or isinstance(cause, _OF_ALL):
                raise
            failures.append(cause)
            on_failure(thing, cause)
            outages = outages + 1 if isinstance(cause, BackendUnavailable) else 0
        else:
            outages = 0
        if outages == 2 and number < len(things):
            failures.append(
                BackendUnavailable(
                    f"not tried: {counted(len(things) - number, what)}, as the backend did not answer twice "
                    "in a row. Repeat the command in a while: it goes on with the rest"
                )
            )
            break
    return failures


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`, did you mean "x"?` for the known name closest to `word`, or nothing where none is close."""
    close = closest(word, known)
    return f', did you mean "{close}"?' if close is not None else ""


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known name that `word` is likely a slip of; None where none is close."""
    import difflib  # which no command needs that is written as it should be

    by_fold = {name.casefold(): name for name in known}
    close = difflib.get_close_matches(word.casefold(), by_fold, n=1)
    return by_fold[close[0]] if close else None


def printable(text: str) -> str:
    """The text on one line, with nothing in it that a terminal would obey."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def counted(count: int, noun: str) -> str:
    """Number and noun as people say them: `1 run`, `2,000 runs`. noun: singular, with a plural in s."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def describe(value: object) -> str:
    """A value as an error shows it, written as in YAML."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case str():
            shown = value if len(value) <= 40 else f"{value[:37]}..."
            return f'"{printable(shown)}"'
        case int() | float():
            return f"{value}"[:40]
        case list() | dict():
            import json

            shown = json.dumps(value, ensure_ascii=False, default=str)
            if value and len(shown) <= 40 and shown.isprintable():
                return shown
            what = "list" if isinstance(value, list) else "mapping"
            return f"a {what}" if value else f"an empty {what}"
        case _:
            return f"a {type(value).__name__}"
