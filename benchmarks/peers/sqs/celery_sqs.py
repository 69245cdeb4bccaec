"""Celery with SQS: threads, no results."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from benchmarks.peers.sqs.peer import Peer


class Celery(Peer):
    """concurrency: threads of the worker. prefetch: messages for each. senders: threads of the client."""

    def __init__(self, concurrency: int = 4, prefetch: int = 4, senders: int = 1) -> None:
        self._concurrency = concurrency
        self._senders = senders
        os.environ["BENCH_PREFETCH"] = str(prefetch)

    def worker(self) -> Sequence[str]:
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "ERROR"]
        pool = ["-P", "threads", "-c", str(self._concurrency)]
        return ["-m", "celery", "-A", "benchmarks.peers.sqs.celery_worker", "worker", *pool, *quiet]

    def submit(self, tasks: Sequence[int]) -> None:
        from benchmarks.peers.sqs.celery_worker import nothing

        if self._senders == 1:
            for task in tasks:
                nothing.apply_async((task,))
            return
        with ThreadPoolExecutor(self._senders) as threads:
            for _ in threads.map(lambda task: nothing.apply_async((task,)), tasks):
                pass
