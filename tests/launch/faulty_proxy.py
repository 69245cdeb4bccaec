"""A proxy before Amazon's services, which does to requests and replies what networks and services do."""

from __future__ import annotations

import http.client
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import urlsplit

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

_HOP: Final = frozenset({"connection", "transfer-encoding", "keep-alive", "date", "server"})


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

    def forward(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, Any, bytes]:
        connection = http.client.HTTPConnection(self._target, timeout=60)
        try:
            connection.request(method, path, body, dict(headers))
            reply = connection.getresponse()
            return reply.status, reply.getheaders(), reply.read()
        finally:
            connection.close()

    @contextmanager
    def listening(self) -> Iterator[str]:
        """Its address, while it serves."""
        server = _Server(("127.0.0.1", 0), _handler(self))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever asked may have gone: a process that is stopped waits for no reply."""


def _handler(proxy: FaultyProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            fault = proxy.fault() if DATA.fullmatch(self.headers.get("X-Amz-Target") or "") else None
            if fault == "error":
                self._say(500, [], b'{"__type":"InternalFailure","message":"by the test"}')
                return
            if fault == "throttled":
                self._say(400, [], b'{"__type":"ThrottlingException","message":"Rate exceeded"}')
                return
            if fault == "late":
                time.sleep(LATE_S)
            reply = proxy.forward(self.command, self.path, dict(self.headers), body)
            if fault == "twice":
                reply = proxy.forward(self.command, self.path, dict(self.headers), body)
            if fault == "reply lost":
                self.close_connection = True
                return
            self._say(*reply)

        do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = handle_any  # noqa: N815 - the base class's names

        def _say(self, status: int, headers: Any, body: bytes) -> None:
            self.send_response(status)
            for name, value in headers:
                if name.lower() not in _HOP and name.lower() != "content-length":
                    self.send_header(name, value)
            if status >= 400:
                self.send_header("Content-Type", "application/x-amz-json-1.0")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Not to be told."""

    return Handler
