"""taskiq with taskiq-aio-sqs: asyncio, sends in batches, no results."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import boto3

from benchmarks.peers.sqs.peer import Peer

_AT_ONCE = 100


class Taskiq(Peer):
    """concurrency: tasks of the worker at once."""

    def __init__(self, concurrency: int = 16) -> None:
        self._concurrency = concurrency

    def prepare(self) -> None:
        from benchmarks.peers.sqs.taskiq_worker import QUEUE

        boto3.client("sqs").create_queue(QueueName=QUEUE)

    def worker(self) -> Sequence[str]:
        many = ["--workers", "1", "--max-async-tasks", str(self._concurrency)]
        return [
            *("-m", "taskiq", "worker", "benchmarks.peers.sqs.taskiq_worker:broker"),
            *many,
            *("--max-prefetch", str(self._concurrency), "--log-level", "ERROR"),
        ]

    def submit(self, tasks: Sequence[int]) -> None:
        asyncio.run(self._submit(tasks))

    async def _submit(self, tasks: Sequence[int]) -> None:
        from benchmarks.peers.sqs.taskiq_worker import broker, nothing

        await broker.startup()
        for start in range(0, len(tasks), _AT_ONCE):
            await asyncio.gather(*[nothing.kiq(task) for task in tasks[start : start + _AT_ONCE]])
        while any(buffer.qsize() for buffer in broker._batch_buffers.values()):  # noqa: ASYNC110 - not ours
            await asyncio.sleep(0.01)
        await asyncio.sleep(broker._batch_timeout)  # the last batch has left the buffer, and is not sent yet
        await broker.shutdown()
