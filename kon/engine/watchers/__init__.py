"""What workers tell as they work: lines of the log, and counts for Prometheus.

A worker that nobody asked for metrics imports none of the modules that make them.
"""
