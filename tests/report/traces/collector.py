"""A collector of OpenTelemetry on the loopback: takes OTLP over HTTP, decodes it and keeps it."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tests.answering import Answer, Asked, answering


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
    reply = ExportTraceServiceResponse().SerializeToString()

    def answer(asked: Asked) -> Answer:
        status = collector.take(asked.path, dict(asked.headers), asked.body)
        return Answer(status, reply, {"Content-Type": "application/x-protobuf"})

    with answering(answer) as collector.endpoint:
        yield collector
