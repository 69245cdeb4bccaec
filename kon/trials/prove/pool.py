"""Processes that share a search, and end when it does."""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

_Part = TypeVar("_Part")
_Found = TypeVar("_Found")


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def processes(
    function: Callable[[_Part], _Found], jobs: int | None
) -> Iterator[Callable[[Iterable[_Part]], Iterator[_Found]]]:
    """What plays parts on `jobs` processes (None: one for each core), and gives their findings in order.

    function: at the top level of a module, for processes that import it.
    """
    jobs = jobs or available_cores()
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
