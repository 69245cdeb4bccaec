"""Benchmarks: kon beside its peers, in one run on one machine. See `python -m benchmarks --help`."""
