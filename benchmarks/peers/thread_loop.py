"""The thread-and-queue loop of the older systems' local workers, whose tables are in `benchmarks.published`.

The client numbers the lines of a workload file and queues them. Each thread takes one, parses it,
drops it if its number has been seen, sleeps (as they do, for 0 ms too), and queues an answer. The client
counts the successes.
"""

from __future__ import annotations

import queue
import threading
import time
from typing import Final

QUEUES: Final = {"Queue": queue.Queue, "SimpleQueue": queue.SimpleQueue}


def measure(tasks: int, threads: int, queue_class: str = "Queue", line: str = "sleep 0") -> dict[str, float]:
    """Tasks a second and CPU time, from the first submission to the last success counted."""
    lines: queue.Queue[str | None] = QUEUES[queue_class]()
    answers: queue.Queue[tuple[int, bool]] = QUEUES[queue_class]()
    seen: set[int] = set()
    lock = threading.Lock()

    def work() -> None:
        while (each := lines.get()) is not None:
            number, _, milliseconds = each.split()
            key = int(number)
            with lock:
                if key in seen:
                    continue
                seen.add(key)
            time.sleep(int(milliseconds) / 1000)
            answers.put((key, True))

    pool = [threading.Thread(target=work) for _ in range(threads)]
    for thread in pool:
        thread.start()
    began_s, used_s = time.perf_counter(), time.process_time()
    for number in range(tasks):
        lines.put(f"{number} {line}")
    successes = 0
    for _ in range(tasks):
        successes += answers.get()[1]
    took_s, used_s = time.perf_counter() - began_s, time.process_time() - used_s
    for _ in pool:
        lines.put(None)
    for thread in pool:
        thread.join()
    if successes != tasks:
        raise AssertionError(f"{successes} of {tasks} tasks succeeded")
    return {"tasks_per_s": tasks / took_s, "cpu_us_per_task": used_s / tasks * 1e6}
