"""The search of kon's edges at Amazon: every call of `up`, `run`, `down` and `sweep`, with every fault.

    python -m tests.edges.search [--minutes N]      the whole, or a sample of it; `make soak` plays all

A play is a clean beginning, one command with one fault at one numbered call, the same command again, and then
`down` and `sweep`. After each the invariants are looked at, in this order: a `down` before would hide leaks.
"""
