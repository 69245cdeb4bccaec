"""Python functions over a list of arguments: `python -m benchmarks.executor`.

`kon.Executor` compared with ProcessPoolExecutor, joblib's loky and dask.distributed, which record nothing:
two processes each, started before the clock. Every one does the same work in turn, over several rounds; a
ratio is of one round. What is not installed is left out, and it says so.
"""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from importlib import import_module
from importlib.util import find_spec
from multiprocessing import get_context
from typing import Any, Final, NamedTuple

import click
from tabulate import tabulate

import kon
from benchmarks.map import left_out

AT_ONCE: Final = 2
POOL: Final = "ProcessPoolExecutor"


class Work(NamedTuple):
    """Calls of one kind. chunk: how many travel together; calls: how many in a round."""

    label: str
    function: Callable[[int], Any]
    calls: int
    chunk: int


def nothing(item: int) -> int:
    return item


def millisecond(item: int) -> int:
    time.sleep(0.001)
    return item


def tenth_of_a_second(item: int) -> int:
    time.sleep(0.1)
    return item


def megabyte(item: int) -> bytes:
    return bytes(1_000_000)


WORKS: Final = (
    Work("no-op, chunks of 500", nothing, 50_000, 500),
    Work("no-op", nothing, 2_000, 1),
    Work("1 ms", millisecond, 1_000, 1),
    Work("100 ms", tenth_of_a_second, 40, 1),
    Work("result of 1 MB", megabyte, 100, 1),
)

Run = Callable[[Work], int]
"""Does all calls of a work; how many results came."""


@contextmanager
def contenders() -> Iterator[dict[str, Run]]:
    """By name, what does the calls, with its processes started."""
    with (
        ProcessPoolExecutor(AT_ONCE, mp_context=get_context("spawn")) as pool,
        kon.Executor(AT_ONCE) as on_sqlite,
        kon.Executor(AT_ONCE, backend="memory") as in_memory,
        ExitStack() as others,
    ):
        found: dict[str, Run] = {
            POOL: _mapping(pool),
            "kon.Executor": _mapping(on_sqlite),
            "kon.Executor, memory": _mapping(in_memory),
        }
        if find_spec("joblib") is None:
            left_out("joblib (loky)", "its package is not installed: pip install joblib")
        else:
            found["joblib (loky)"] = _with_joblib
        if find_spec("distributed") is None:
            left_out("dask.distributed", "its package is not installed: make bench installs it")
        else:
            found["dask.distributed"] = _with_dask(others)
        for run in found.values():
            run(Work("", nothing, 4 * AT_ONCE, 1))
        yield found


def _mapping(executor: Executor) -> Run:
    return lambda work: sum(1 for _ in executor.map(work.function, range(work.calls), chunksize=work.chunk))


def _with_joblib(work: Work) -> int:
    from joblib import Parallel, delayed

    size: Any = work.chunk if work.chunk > 1 else "auto"
    parallel = Parallel(n_jobs=AT_ONCE, batch_size=size)
    return len(parallel(delayed(work.function)(item) for item in range(work.calls)))


def _with_dask(others: ExitStack) -> Run:
    """Chunks as tasks of their own, as dask's own collections have them."""
    distributed = import_module("distributed")  # it carries few types
    cluster = distributed.LocalCluster(
        n_workers=AT_ONCE, threads_per_worker=1, dashboard_address=None, processes=True
    )
    client = others.enter_context(distributed.Client(others.enter_context(cluster)))

    def run(work: Work) -> int:
        starts = range(0, work.calls, work.chunk)
        # pure=False: it would answer what it has called before without a call
        futures = client.map(
            _chunk, [(work.function, at, min(at + work.chunk, work.calls)) for at in starts], pure=False
        )
        return sum(len(part) for part in client.gather(futures))

    return run


def _chunk(part: tuple[Callable[[int], Any], int, int]) -> list[Any]:
    function, first, end = part
    return [function(item) for item in range(first, end)]


def measure_rounds(works: Sequence[Work], rounds: int) -> dict[str, list[dict[str, float]]]:
    """Seconds by work, round and name."""
    found: dict[str, list[dict[str, float]]] = {work.label: [] for work in works}
    with contenders() as runs:
        for _ in range(rounds):
            for work in works:
                took_s: dict[str, float] = {}
                for name, run in runs.items():
                    began_s = time.perf_counter()
                    if run(work) != work.calls:
                        raise click.ClickException(f"{name} lost results of {work.label}")
                    took_s[name] = time.perf_counter() - began_s
                found[work.label].append(took_s)
    return found


def rows(works: Sequence[Work], took: dict[str, list[dict[str, float]]]) -> list[tuple[str, ...]]:
    """A row for each work and program; ratios are of throughput, round by round."""
    table: list[tuple[str, ...]] = []
    for work in works:
        rounds = took[work.label]
        for name in rounds[0]:
            ratios = [each[POOL] / each[name] for each in rounds]
            rate = work.calls / statistics.median(each[name] for each in rounds)
            row = (work.label, name, f"{rate:,.0f}", f"{statistics.median(ratios):.2f}")
            table.append((*row, f"{min(ratios):.2f} to {max(ratios):.2f}"))
    return table


HEADERS: Final = ("", "", "calls/s", "of the pool", "lowest to highest")


@click.command()
@click.option("--rounds", default=3, show_default=True, help="Measurements of each.")
@click.option("--scale", default=1.0, show_default=True, help="Calls in each, as a share of the usual.")
def main(rounds: int, scale: float) -> None:
    works = [work._replace(calls=max(1, math.ceil(work.calls * scale))) for work in WORKS]
    print(f"{AT_ONCE} processes on {os.cpu_count()} processors, started before; {rounds} rounds")
    table = rows(works, measure_rounds(works, rounds))
    print(
        tabulate(table, HEADERS, colalign=("left", "left", "right", "right", "right"), disable_numparse=True)
    )


if __name__ == "__main__":
    main()
