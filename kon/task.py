"""Former place of `kon.core.task`, kept for one release for strategies and kinds of your own."""

from kon.core.task import (
    FINAL,
    MAX_ATTEMPTS,
    TRANSITIONS,
    Answers,
    Bundle,
    Outcome,
    State,
    Task,
    attempt_key,
    attempt_keys,
    decode_answers,
    decode_bundle,
    decode_outcome,
    encode,
    task_id,
)

__all__ = [
    "FINAL",
    "MAX_ATTEMPTS",
    "TRANSITIONS",
    "Answers",
    "Bundle",
    "Outcome",
    "State",
    "Task",
    "attempt_key",
    "attempt_keys",
    "decode_answers",
    "decode_bundle",
    "decode_outcome",
    "encode",
    "task_id",
]
