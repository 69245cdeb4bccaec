"""The Python API: functions and commands over items, from a program. See docs/python-api.md."""

from __future__ import annotations

from kon.api.calls import gather, map, open_run, submit
from kon.api.handle import Run, RunStatus

__all__ = ["Run", "RunStatus", "gather", "map", "open_run", "submit"]
