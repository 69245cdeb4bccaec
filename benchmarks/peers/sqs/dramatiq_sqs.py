"""dramatiq with dramatiq_sqs: threads, no results, no middleware that it could do without."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.peers.sqs.peer import Peer


class Dramatiq(Peer):
    """concurrency: threads of the worker. It holds no more than ten messages, however many they are."""

    def __init__(self, concurrency: int = 8) -> None:
        self._concurrency = concurrency

    def worker(self) -> Sequence[str]:
        many = ["--processes", "1", "--threads", str(self._concurrency)]
        return ["-m", "dramatiq", "benchmarks.peers.sqs.dramatiq_worker", *many, "--skip-logging"]

    def submit(self, tasks: Sequence[int]) -> None:
        from benchmarks.peers.sqs.dramatiq_worker import nothing

        for task in tasks:
            nothing.send(task)
