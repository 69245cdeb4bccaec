"""Celery's application: `python -m celery -A benchmarks.peers.sqs.celery_worker worker ...`."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from celery import Celery
from celery.signals import worker_ready

from benchmarks.peers.sqs.marks import of_environment

_marks = of_environment()
_endpoint = urlsplit(os.environ["AWS_ENDPOINT_URL"])

app = Celery("bench", broker=f"sqs://test:test@{_endpoint.netloc}")
app.conf.update(
    broker_transport_options={
        "is_secure": False,
        "region": os.environ["AWS_REGION"],
        # an empty queue is asked again at once, and tells of the next message as soon as it comes
        "polling_interval": 0,
        "wait_time_seconds": 10,
    },
    broker_connection_retry_on_startup=True,
    task_ignore_result=True,
    task_store_errors_even_if_ignored=False,
    task_default_queue="celery-bench",
    worker_prefetch_multiplier=int(os.environ.get("BENCH_PREFETCH", "4")),
    worker_enable_remote_control=False,
    worker_send_task_events=False,
    worker_hijack_root_logger=False,
)


@app.task(name="bench.nothing", ignore_result=True)  # type: ignore[untyped-decorator]
def nothing(task: int) -> None:
    if _marks is not None:
        _marks.ran(task)


@worker_ready.connect  # type: ignore[untyped-decorator]
def _ready(**_: object) -> None:
    if _marks is not None:
        _marks.tell("ready")
