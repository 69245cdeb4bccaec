"""A collector of OpenTelemetry on the loopback: takes OTLP over HTTP, decodes it and keeps it."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


class Taken(NamedTuple):
    """A span as it came, and the attributes of its resource."""

    span: Any
    resource: dict[str, Any]


class Collector:
    """answers: the status of each request, in order; 200 after that."""

    def __init__(self, *answers: int) -> None:
        self._answers = list(answers)
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.bodies: list[ExportTraceServiceRequest] = []
        self.endpoint = ""

    def take(self, path: str, headers: dict[str, str], body: bytes) -> int:
        self.requests.append((path, headers))
        status = self._answers.pop(0) if self._answers else 200
        if status == 200:
            if headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            self.bodies.append(ExportTraceServiceRequest.FromString(body))
        return status

    @property
    def spans(self) -> list[Taken]:
        return [
            Taken(span, attributes(group.resource))
            for body in self.bodies
            for group in body.resource_spans
            for scope in group.scope_spans
            for span in scope.spans
        ]


def attributes(of: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in of.attributes}


@contextmanager
def collecting(*answers: int) -> Iterator[Collector]:
    collector = Collector(*answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status = collector.take(self.path, headers, body)
            reply = ExportTraceServiceResponse().SerializeToString()
            self.send_response(status)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *args: Any) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        collector.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()
