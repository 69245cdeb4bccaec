"""A run's records as traces of OpenTelemetry: one for each task, with what `kon explain` tells of it."""

from kon.report.read.traces import traces_of
from kon.report.traces.choice import Choice, chosen
from kon.report.traces.spans import Origin, Span, spans_of

__all__ = ["Choice", "Origin", "Span", "chosen", "spans_of", "traces_of"]
