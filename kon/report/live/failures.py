"""Tasks that did not end well, the latest of them with what they left behind."""

from __future__ import annotations

from typing import Any, Final

import msgspec

MOST: Final = 100
"""Kept; `kon results RUN --failed` has them all."""

MOST_TEXT: Final = 2_000
"""Characters of an output that are kept: the last ones, as errors stand at the end."""

RETRY: Final = "retry"
"""The state of a task that failed and is to be tried again."""


class Failure(msgspec.Struct, frozen=True):
    """state: `failed`, `dead`, `lost`, `cancelled`, or `retry`. at_s: seconds since the epoch; 0 if unknown.

    output: what it left behind, by name: stdout and stderr of a command, a traceback.
    """

    task: int
    attempt: int
    state: str
    worker: str
    error: str
    output: dict[str, str]
    at_s: float


class Failures:
    """In order of their coming."""

    def __init__(self) -> None:
        self._kept: dict[int, Failure] = {}

    def add(self, failure: Failure) -> None:
        self._kept.pop(failure.task, None)
        self._kept[failure.task] = failure
        if len(self._kept) > MOST:
            del self._kept[next(iter(self._kept))]

    def forget(self, task: int) -> None:
        """It has ended well after all."""
        self._kept.pop(task, None)

    def newest_first(self) -> list[Failure]:
        return list(reversed(self._kept.values()))


def output_of(result: Any) -> dict[str, str]:
    """What a failed attempt left behind, as texts that fit a page; what it complained of first."""
    if result is None:
        return {}
    if not isinstance(result, dict):
        text = result if isinstance(result, str) else msgspec.json.encode(result).decode()
        return {"result": _end_of(text)}
    texts = {str(name): _end_of(text) for name, text in result.items() if isinstance(text, str) and text}
    return {name: texts[name] for name in sorted(texts, key=lambda name: name != "stderr")}


def _end_of(text: str) -> str:
    return text if len(text) <= MOST_TEXT else f"... ({len(text):,} characters) {text[-MOST_TEXT:]}"
