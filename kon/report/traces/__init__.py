"""A run's records as traces of OpenTelemetry: one for each task, with what `kon explain` says about it."""

from kon.report.read.traces import traces_of
from kon.report.traces.selection import Selection, chosen
from kon.report.traces.spans import RunIdentity, Span, spans_of

__all__ = ["RunIdentity", "Selection", "Span", "chosen", "spans_of", "traces_of"]
