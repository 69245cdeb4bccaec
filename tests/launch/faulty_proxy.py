"""A proxy before Amazon's services, which does to requests and replies what networks and services do."""

from __future__ import annotations

import http.client
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Final
from urllib.parse import urlsplit

from tests.answering import Answer, Asked, answering

RATES: Final = {
    "reply lost": 0.04,  # the service did it, and nobody is told: whoever asks again meets his own deed
    "twice": 0.04,  # as a network's own retry does it: messages sent twice, or received for nobody
    "error": 0.03,
    "throttled": 0.03,
    "late": 0.02,  # so late that leases and visibility have passed: receipt handles are stale by then
}
LATE_S: Final = 2.5

DATA: Final = re.compile(
    r"AmazonSQS\.(Send|Receive|Delete|ChangeMessageVisibility)\w*Batch|AmazonSQS\.ReceiveMessage"
    r"|DynamoDB_\w+\.(Batch\w+|GetItem|PutItem|UpdateItem|DeleteItem|Query)"
)
"""The calls that a run consists of. What makes and deletes queues and tables is left in peace: a person
would see it fail, and ask again."""

_HOP: Final = frozenset({"connection", "transfer-encoding", "keep-alive", "date", "server", "content-length"})
_JSON: Final = {"Content-Type": "application/x-amz-json-1.0"}


class FaultyProxy:
    """rates: of each fault among requests. url: where it listens, on loopback."""

    def __init__(self, target: str, rates: Mapping[str, float], seed: int) -> None:
        self.fired: Counter[str] = Counter()
        self.requests = 0
        self._target = urlsplit(target).netloc
        self._rates = rates
        self._rng = random.Random(seed)
        self._lock = threading.Lock()

    def fault(self) -> str | None:
        """What becomes of the next request."""
        with self._lock:
            self.requests += 1
            drawn = self._rng.random()
            for name, rate in self._rates.items():
                if drawn < rate:
                    self.fired[name] += 1
                    return name
                drawn -= rate
            return None

    def listening(self) -> AbstractContextManager[str]:
        """Its address, while it serves."""
        return answering(self.answer)

    def answer(self, asked: Asked) -> Answer | None:
        fault = self.fault() if DATA.fullmatch(asked.headers.get("x-amz-target", "")) else None
        if fault == "error":
            return Answer(500, b'{"__type":"InternalFailure","message":"by the test"}', _JSON)
        if fault == "throttled":
            return Answer(400, b'{"__type":"ThrottlingException","message":"Rate exceeded"}', _JSON)
        if fault == "late":
            time.sleep(LATE_S)
        reply = self.forward(asked)
        if fault == "twice":
            reply = self.forward(asked)
        return None if fault == "reply lost" else reply

    def forward(self, asked: Asked) -> Answer:
        connection = http.client.HTTPConnection(self._target, timeout=60)
        try:
            connection.request(asked.method, asked.path, asked.body, dict(asked.headers))
            reply = connection.getresponse()
            headers = {name: value for name, value in reply.getheaders() if name.lower() not in _HOP}
            return Answer(reply.status, reply.read(), headers)
        finally:
            connection.close()
