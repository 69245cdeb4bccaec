"""The tasks of a simulation, and looking at them and dropping them from outside of it."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine, Generator
from typing import Any, Final, TypeVar

_Result = TypeVar("_Result")

_LAST_WORDS: Final = 1_000
"""Awaits in the `finally:` blocks of one coroutine, at the most, when it is closed."""


class SimTask(asyncio.Task[_Result]):
    """A task that knows its host.

    Its hash is its number, not its address: asyncio keeps tasks in sets, and when it goes through one,
    to cancel a group for example, that must be in the same order in every process.
    """

    __slots__ = ("host", "number")

    def __init__(
        self,
        coro: Coroutine[Any, Any, _Result] | Generator[Any, None, _Result],
        loop: asyncio.AbstractEventLoop,
        name: str | None,
        context: contextvars.Context,
        host: str,
        number: int,
    ) -> None:
        self.host = host
        self.number = number
        super().__init__(coro, loop=loop, name=name, context=context)

    def __hash__(self) -> int:
        return self.number

    def __eq__(self, other: object) -> bool:
        return self is other


def where(awaited: Any) -> str:
    """The innermost place at which a coroutine waits, as file:line (function)."""
    place = "not started"
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "gi_frame", None)
        if frame is None:
            break
        code = frame.f_code
        place = f"{code.co_filename}:{frame.f_lineno} ({code.co_qualname})"
        awaited = getattr(awaited, "cr_await", None)
    return place


def drop(task: asyncio.Task[Any]) -> None:
    """Close a task's coroutine here and now, lest the garbage collector do it at some other time.

    Its `finally:` blocks run; that they have no effect is for the caller to see to.
    """
    coro: Any = task.get_coro()
    for _ in range(_LAST_WORDS):
        try:
            coro.close()
        except RuntimeError as error:  # "coroutine ignored GeneratorExit": it has more such blocks
            if "GeneratorExit" in str(error):
                continue
        except (Exception, BaseExceptionGroup):  # whatever it fails with has no effect any more either
            pass
        return
