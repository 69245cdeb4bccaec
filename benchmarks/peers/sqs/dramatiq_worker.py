"""dramatiq's broker: `python -m dramatiq benchmarks.peers.sqs.dramatiq_worker ...`."""

from __future__ import annotations

from typing import Any

import dramatiq
from dramatiq_sqs import SQSBroker

from benchmarks.peers.sqs.marks import of_environment

_marks = of_environment()


class _Ready(dramatiq.Middleware):  # type: ignore[misc]
    def after_worker_boot(self, broker: Any, worker: Any) -> None:
        if _marks is not None:
            _marks.tell("ready")


broker = SQSBroker(namespace="dramatiq-bench", middleware=[_Ready()])
dramatiq.set_broker(broker)


@dramatiq.actor  # type: ignore[untyped-decorator]
def nothing(task: int) -> None:
    if _marks is not None:
        _marks.ran(task)
