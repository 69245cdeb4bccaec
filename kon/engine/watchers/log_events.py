"""What happens to tasks, as lines of a log with their ids."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from kon.core.task import Outcome, task_id
from kon.engine.records.events import Event, Named, Watcher

LINES: Final[Mapping[Event, tuple[int, str]]] = {
    Event.UP: (logging.INFO, "the worker is ready"),
    Event.DELIVER: (logging.DEBUG, "came in a message"),
    Event.CLAIM: (logging.DEBUG, "may run"),
    Event.SKIP: (logging.DEBUG, "turned away: done or begun before"),
    Event.DEFER: (logging.DEBUG, "put off: another holds it"),
    Event.START: (logging.DEBUG, "starts"),
    Event.KEEP: (logging.DEBUG, "its outcome was committed"),
    Event.SPENT: (logging.DEBUG, "its processes have ended"),
    Event.RETRY: (logging.INFO, "an attempt failed; it is made again"),
    Event.REFUSE: (logging.INFO, "its commit was refused: another's outcome stands, or will"),
    Event.DROP: (logging.INFO, "not started: its claim ran out before a slot was free"),
    Event.GIVE_BACK: (logging.INFO, "not started: the worker was told to stop"),
    Event.STOP: (logging.INFO, "stopped with its worker, and queued again"),
    Event.ANSWER: (logging.DEBUG, "its outcome was sent to the client"),
    Event.ACK: (logging.DEBUG, "its message was deleted"),
    Event.DEAD: (logging.WARNING, "sent to the dead-letter queue: received too often"),
    Event.RENEW: (logging.DEBUG, "its lease was renewed"),
    Event.USAGE: (logging.DEBUG, "the worker is alive"),
    Event.TROUBLE: (logging.WARNING, "the backend did not answer, or a message can't be read"),
    Event.DOWN: (logging.INFO, "the worker ends"),
}
"""At what level each is written, and in what words."""

_SHOWN: Final = {
    "n": "receives", "token": "token", "error": "error", "pause_s": "pause_s", "slots": "slots", "pid": "pid",
    "host": "host", "task_cpu_s": "task_cpu_s", "peak_bytes": "peak_bytes",
}  # fmt: skip


class EventLog(Watcher):
    """Writes a line for each task of each event whose level is on; one that is off costs a look."""

    def __init__(self, run: str, worker: str) -> None:
        self._log = logging.getLogger("kon.worker")
        self._run = run
        self._who = {"run": run, "worker": worker}

    def note(self, event: Event, fields: Mapping[str, Any]) -> None:
        level, words = LINES[event]
        if self._log.isEnabledFor(level):
            self._log.log(level, words, extra={**self._who, "event": event.value, **_shown(fields)})

    def tasks(self, event: Event, tasks: Named, fields: Mapping[str, Any]) -> None:
        level, words = LINES[event]
        if not self._log.isEnabledFor(level):
            return
        common = {**self._who, "event": event.value, **_shown(fields)}
        for index, attempt in tasks.attempts():
            ids = {"task": task_id(self._run, index), "attempt": attempt}
            self._log.log(level, words, extra={**common, **ids})

    def failed(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            ids = {"task": task_id(self._run, outcome.index), "attempt": outcome.attempt}
            extra = {**self._who, "event": "fail", **ids, "error": outcome.error}
            self._log.warning("failed for good", extra=extra)


def _shown(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: fields[key] for key, name in _SHOWN.items() if key in fields}
