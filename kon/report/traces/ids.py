"""Ids of traces and spans: made from what the records say, so that a run sent twice is still one run."""

from __future__ import annotations

import hashlib


def trace_id(run: str, key: str, began: str, index: int) -> int:
    """Id of a task's trace: 16 bytes, never 0, as the protocol says. began: tells runs of one name apart."""
    return _number(16, run, key, began, str(index))


def span_id(trace: int, name: str, who: str, attempt: int, number: int) -> int:
    """Id of a span of that trace: 8 bytes, never 0. number: from 0, of those that are alike otherwise."""
    return _number(8, f"{trace:032x}", name, who, str(attempt), str(number))


def _number(size_bytes: int, *words: str) -> int:
    digest = hashlib.blake2b("\0".join(words).encode(errors="surrogatepass"), digest_size=size_bytes)
    return int.from_bytes(digest.digest()) or 1
