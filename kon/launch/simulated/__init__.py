"""Runs in virtual time: kon's own client and workers on hosts that are simulated.

`simulation` is one such run, from its first host's boot to its last answer; `run` records it as any
other run is; `host` is what differs on a simulated host.
"""
