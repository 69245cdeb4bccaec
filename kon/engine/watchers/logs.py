"""How logs are written: as the environment says, which the worker processes of a command inherit.

Without a word from anybody nothing is set up, and people read what they always read.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from kon.core.errors import ConfigurationError

if TYPE_CHECKING:
    from kon.engine.records.events import Watcher

FORMAT: Final = "KON_LOG_FORMAT"
LEVEL: Final = "KON_LOG_LEVEL"
"""The environment variables behind `--log-format` and `--log-level`."""

FORMATS: Final = ("text", "json")
LEVELS: Final = ("debug", "info", "warning", "error")

ROOT: Final = "kon"
"""The logger above all of kon's."""

_OWN: Final = frozenset([*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"])


def extras(record: logging.LogRecord) -> dict[str, Any]:
    """What was given as `extra`: run, worker, task, attempt and what else there is."""
    return {name: value for name, value in vars(record).items() if name not in _OWN}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (RFC 3339, UTC), level, logger, message, then ids, then the exception.

    fields: what every line has, unless its record says otherwise.
    """

    def __init__(self, fields: Mapping[str, Any]) -> None:
        super().__init__()
        self._fields = fields

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _rfc3339(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **self._fields,
            **extras(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        import json  # for those alone who ask for it

        return json.dumps(line, default=str)  # in ASCII, whatever a task's error has in it


class TextFormatter(logging.Formatter):
    """For people who ask for more than errors: a record as a line of words."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - its name in the stdlib
        words = [
            super().formatMessage(record),
            *(f"{name}={value}" for name, value in extras(record).items()),
        ]
        return " ".join(words)


class _State:
    """What `set_up` has done in this process, to be undone."""

    handler: logging.Handler | None = None
    is_json = False
    fields: dict[str, Any]


_state = _State()
_state.fields = {}


def set_up(environment: Mapping[str, str] = os.environ) -> None:
    """Write logs as the environment says, from here on. Raises ConfigurationError for what can't be."""
    style = _one_of(environment, FORMAT, FORMATS) or "text"
    level = _one_of(environment, LEVEL, LEVELS)
    _forget()
    if style == "text" and level is None:
        return
    _state.is_json = style == "json"
    _state.fields = {}
    _state.handler = logging.StreamHandler(sys.stderr)
    _state.handler.setFormatter(JsonFormatter(_state.fields) if _state.is_json else TextFormatter())
    logging.getLogger().addHandler(_state.handler)
    logging.getLogger(ROOT).setLevel((level or "info").upper())


def is_set_up() -> bool:
    """Whether somebody asked for logs."""
    return _state.handler is not None


def logged(run: str, worker: str) -> list[Watcher]:
    """Who writes the log of a worker, where somebody asked for it."""
    if not is_set_up():
        return []
    from kon.engine.watchers.log_events import EventLog

    return [EventLog(run, worker)]


def is_json() -> bool:
    """Whether stderr is for JSON alone."""
    return _state.is_json


def about(**fields: Any) -> None:
    """What every line from here on has: the run, the worker."""
    _state.fields.update(fields)


def log_faults() -> None:
    """Where stderr is for JSON alone: have Python's own warnings, and the traceback that ends the process,
    follow suit."""
    if not _state.is_json:
        return
    logging.captureWarnings(True)

    def on_fault(kind: type[BaseException], fault: BaseException, where: TracebackType | None) -> None:
        logging.getLogger(ROOT).critical("a fault of kon's own", exc_info=(kind, fault, where))

    sys.excepthook = on_fault


def _forget() -> None:
    if _state.handler is not None:
        logging.getLogger().removeHandler(_state.handler)
        logging.getLogger(ROOT).setLevel(logging.NOTSET)
    _state.handler, _state.is_json = None, False


def _one_of(environment: Mapping[str, str], name: str, words: tuple[str, ...]) -> str | None:
    word = environment.get(name, "").lower()
    if word and word not in words:
        raise ConfigurationError(f'{name}: expected {" or ".join(words)}, found "{word}"')
    return word or None


def _rfc3339(t: float) -> str:
    """A time in seconds since the epoch, in UTC."""
    return f"{datetime.fromtimestamp(t, UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"
