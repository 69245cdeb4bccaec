"""A run's records as traces of OpenTelemetry: one for each task, with what `kon explain` tells of it."""

from kon.report.read.gather import gathered
from kon.report.traces.choice import Choice, chosen
from kon.report.traces.spans import Origin, Span, spans_of

__all__ = ["Choice", "Origin", "Span", "chosen", "gathered", "spans_of"]
