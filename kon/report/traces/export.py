"""Spans sent to a collector: OTLP over HTTP, by OpenTelemetry's own exporter, with its own variables."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from kon.core.distribution import install, version
from kon.core.errors import CollectorUnavailable, ConfigurationError
from kon.core.task import CLIENT
from kon.report.traces.spans import RunIdentity, Span

if TYPE_CHECKING:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan

BATCH: Final = 1_000
"""Spans in a request."""

_PATH: Final = "/v1/traces"

_EXPORTERS_LOG: Final = "opentelemetry.exporter.otlp.proto.http"


class Exporter:
    """Sends the spans of one run.

    endpoint: a collector's address, such as http://localhost:4318; None for what the environment says
        (OTEL_EXPORTER_OTLP_ENDPOINT and the rest of that family), and this where it says nothing.
    """

    def __init__(self, origin: RunIdentity, endpoint: str | None = None) -> None:
        """Raises ConfigurationError where OpenTelemetry is not installed or its settings can't be used."""
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        except ImportError as error:
            raise ConfigurationError(
                "to send traces, kon needs OpenTelemetry's packages, which are not installed; install kon "
                f"with its extra `opentelemetry`: {install('opentelemetry')}. --json prints the spans "
                "without it"
            ) from error
        if endpoint is not None and not endpoint.startswith(("http://", "https://")):
            raise ConfigurationError(
                "--otlp: expected the address of a collector, such as http://localhost:4318, found "
                f'"{endpoint}"; it is spoken to by HTTP, not by gRPC'
            )
        try:
            self._exporter: OTLPSpanExporter = OTLPSpanExporter(endpoint and _with_path(endpoint))
        except (ValueError, OSError) as error:  # a timeout that is no number, a certificate that is not there
            raise ConfigurationError(f"OpenTelemetry's settings can't be used: {error}") from error
        self._origin = origin
        self._resources: dict[tuple[str, str | None], Resource] = {}

    def send(self, spans: Iterable[Span]) -> int:
        """Send them all; how many they were. Raises CollectorUnavailable where one batch is not taken."""
        from opentelemetry.sdk.trace.export import SpanExportResult

        sent = 0
        try:
            for batch in _batches(spans):
                with _last_words(_EXPORTERS_LOG) as words:
                    result = self._exporter.export([self._readable(span) for span in batch])
                if result is not SpanExportResult.SUCCESS:
                    raise CollectorUnavailable(
                        f"the collector did not take the spans: {_reason(words)}. {sent:,} were sent before "
                        "that; once it is mended, the same command sends all again, under the same ids"
                    )
                sent += len(batch)
        finally:
            self._exporter.shutdown()  # type: ignore[no-untyped-call]
        return sent

    def _readable(self, span: Span) -> ReadableSpan:
        from opentelemetry.sdk.trace import Event as SdkEvent
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope
        from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

        def context(span_id: int) -> SpanContext:
            return SpanContext(span.trace_id, span_id, is_remote=False, trace_flags=TraceFlags(1))

        return ReadableSpan(
            name=span.name,
            context=context(span.span_id),
            parent=None if span.parent_id is None else context(span.parent_id),
            resource=self._resource(span.who, span.host),
            attributes=span.attributes,
            events=[SdkEvent(each.name, each.attributes, each.t_ns) for each in span.events],
            links=[Link(context(each.span_id), {"kon.link": each.why}) for each in span.links],
            kind=SpanKind[span.kind.upper()],
            status=Status(StatusCode.UNSET if span.error is None else StatusCode.ERROR, span.error),
            start_time=span.start_ns,
            end_time=span.end_ns,
            instrumentation_scope=InstrumentationScope("kon", version()),
        )

    def _resource(self, who: str, host: str | None) -> Resource:
        """Who did it: a life of a worker on its host, or the client. OTEL_SERVICE_NAME and
        OTEL_RESOURCE_ATTRIBUTES overrule what is said here."""
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource

        resource = self._resources.get((who, host))
        if resource is None:
            spec = self._origin.spec
            said = {
                "service.name": "kon-client" if who == CLIENT else "kon-worker",
                "service.instance.id": who,
                "service.version": version(),
                "kon.run": spec.run,
                "kon.experiment": spec.experiment,
                "kon.backend": spec.backend.name,
            }
            if host:
                said["host.name"] = host
            resource = Resource.create().merge(Resource(said)).merge(OTELResourceDetector().detect())
            self._resources[who, host] = resource
        return resource


def _reason(words: list[str]) -> str:
    """The exporter's last two: that it gives up, and before that why."""
    return "; ".join(each.rstrip(".") for each in words[-2:]) or "no reason was given"


def _with_path(endpoint: str) -> str:
    """As with OTEL_EXPORTER_OTLP_ENDPOINT: the path of traces is added, unless it is there."""
    return endpoint if endpoint.endswith(_PATH) else endpoint.rstrip("/") + _PATH


def _batches(spans: Iterable[Span]) -> Iterator[list[Span]]:
    batch: list[Span] = []
    for span in spans:
        batch.append(span)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


@contextmanager
def _last_words(name: str) -> Iterator[list[str]]:
    """What the library logs meanwhile, which is the only place where it says why; nobody else sees it."""
    words: list[str] = []

    class _Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            words.append(record.getMessage())

    logger, handler = logging.getLogger(name), _Keep()
    logger.addHandler(handler)
    before, logger.propagate = logger.propagate, False
    try:
        yield words
    finally:
        logger.removeHandler(handler)
        logger.propagate = before
