"""`python -m benchmarks.peers.sqs`: one measurement of one peer, as JSON; its options come as JSON too."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from benchmarks.peers.sqs.celery_sqs import Celery
from benchmarks.peers.sqs.dramatiq_sqs import Dramatiq
from benchmarks.peers.sqs.marks import READY, Reader
from benchmarks.peers.sqs.one_call import OneCall
from benchmarks.peers.sqs.peer import Peer
from benchmarks.peers.sqs.taskiq_sqs import Taskiq
from benchmarks.processes import cpu_s_of

PEERS: Final[dict[str, type[Peer]]] = {
    "celery": Celery,
    "taskiq": Taskiq,
    "dramatiq": Dramatiq,
    "one_call": OneCall,
}


def measure(name: str, tasks: int, warm_up: int, filled: bool = False, **settings: Any) -> dict[str, Any]:
    """From the first submission until the last task has run, by a worker that has run some before.

    filled: all is submitted before the worker starts, and the time is the worker's alone.
    """
    emulator = int(os.environ["BENCH_EMULATOR_PID"])
    there = PEERS[name](**settings)
    there.prepare()
    if filled:
        there.submit(range(warm_up + tasks))
    with tempfile.TemporaryDirectory() as folder:
        marks = Reader(Path(folder), (warm_up, warm_up + tasks))
        log = Path(folder) / "worker.log"
        with log.open("wb") as output:
            worker = subprocess.Popen(
                [sys.executable, *there.worker()],
                env={**os.environ, **marks.environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            marks.wait(READY, worker)
            if not filled:
                there.submit(range(warm_up))
            warm = marks.wait(warm_up, worker)
            emulator_s, client_s, began_s = cpu_s_of(emulator), time.process_time(), time.monotonic()
            if filled:
                began_s = warm["t"]
            else:
                there.submit(range(warm_up, warm_up + tasks))
            done = marks.wait(warm_up + tasks, worker)
            client_s, emulator_s = time.process_time() - client_s, _since(emulator_s, cpu_s_of(emulator))
        except RuntimeError as error:
            said = log.read_text(errors="replace")[-2_000:]
            raise SystemExit(f"{error}; it said: {said}") from error
        finally:
            os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()
            marks.close()
    took_s = done["t"] - began_s
    return {
        "tasks_per_s": tasks / took_s,
        "took_s": took_s,
        "worker_cpu_ms_per_task": (done["cpu_s"] - warm["cpu_s"]) / tasks * 1e3,
        "client_cpu_ms_per_task": None if filled else client_s / tasks * 1e3,
        "emulator_cpu_ms_per_task": None if emulator_s is None else emulator_s / tasks * 1e3,
    }


def _since(before_s: float | None, after_s: float | None) -> float | None:
    return None if before_s is None or after_s is None else after_s - before_s


if __name__ == "__main__":
    options = json.load(sys.stdin)
    json.dump(measure(**options), sys.stdout)
