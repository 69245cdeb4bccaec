"""taskiq's broker: `python -m taskiq worker benchmarks.peers.sqs.taskiq_worker:broker ...`."""

from __future__ import annotations

import os

from taskiq import TaskiqEvents, TaskiqState
from taskiq_aio_sqs import SQSBroker

from benchmarks.peers.sqs.marks import of_environment

QUEUE = "taskiq-bench"

_marks = of_environment()

broker = SQSBroker(
    QUEUE,
    endpoint_url=os.environ["AWS_ENDPOINT_URL"],
    region_name=os.environ["AWS_REGION"],
    aws_access_key_id="test",
    aws_secret_access_key="test",
    max_number_of_messages=10,
    wait_time_seconds=10,
    enable_batching=True,
    batch_size=10,
    batch_timeout=0.1,
)


@broker.task(task_name="nothing")  # type: ignore[untyped-decorator]
async def nothing(task: int) -> None:
    if _marks is not None:
        _marks.ran(task)


@broker.on_event(TaskiqEvents.WORKER_STARTUP)  # type: ignore[untyped-decorator]
async def _ready(state: TaskiqState) -> None:
    if _marks is not None:
        _marks.tell("ready")
