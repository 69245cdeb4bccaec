"""huey, a task queue of few parts like kon, on its SQLite storage with a consumer of threads.

As favourable to huey as can be: the consumer's threads live in the client's process; its pauses are
short; it starts when all tasks are queued, which takes less time in all than while they are; the client
learns of the end by a signal, and takes all results at once instead of asking for each.
"""

from __future__ import annotations

import logging
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from huey import SqliteHuey
from huey.consumer import Consumer


def measure(tasks: int, threads: int, results: bool, fsync: bool) -> dict[str, float]:
    """Tasks a second and CPU time, from the first submission until all results are known.

    results: they are stored and read. Without, it is only known how many tasks have ended.
    fsync: each commit waits for the disk, as huey does unless told otherwise.
    """
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        huey = SqliteHuey("bench", filename=str(Path(folder) / "huey.db"), results=results, fsync=fsync)
        all_ended = count_ends(huey, tasks)

        @huey.task()  # type: ignore[untyped-decorator]
        def sleep(milliseconds: int) -> int:
            time.sleep(milliseconds / 1000)
            return 0

        consumer = Consumer(
            huey,
            workers=threads,
            periodic=False,
            initial_delay=0.001,
            max_delay=0.01,
            check_worker_health=False,
        )
        began_s, used_s = time.perf_counter(), time.process_time()
        for _ in range(tasks):
            sleep(0)
        consumer.start()
        all_ended.wait()
        if results and len(huey.all_results()) != tasks:
            raise AssertionError("not every task has a result")
        took_s, used_s = time.perf_counter() - began_s, time.process_time() - used_s
        consumer.stop(graceful=True)
    return {"tasks_per_s": tasks / took_s, "cpu_us_per_task": used_s / tasks * 1e6}


def count_ends(huey: SqliteHuey, tasks: int) -> threading.Event:
    """Set when so many tasks have ended."""
    all_ended = threading.Event()
    lock = threading.Lock()
    left = tasks

    @huey.signal("complete")  # type: ignore[untyped-decorator]
    def count(signal: str, task: Any) -> None:
        nonlocal left
        with lock:
            left -= 1
            if not left:
                all_ended.set()

    return all_ended
