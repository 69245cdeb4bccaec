"""A run's records as traces of OpenTelemetry: one for each task, with what `kon explain` says about it.

All tasks of a small run become traces, of a large one those that were asked for.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from kon.core.errors import ConfigurationError
from kon.engine.records.records import RunFolder
from kon.report.read.tally import duplicates
from kon.report.read.traces import traces_of
from kon.report.traces.spans import RunIdentity, Span, spans_of

__all__ = ["RunIdentity", "Selection", "Span", "chosen", "spans_of", "traces_of"]


MOST_UNASKED: Final = 10_000
"""Traces that are made without anybody having said how many."""


class Selection(msgspec.Struct, frozen=True):
    """What was asked for; where nothing was, all.

    tasks: indexes and ranges, as `3,17,100-120`.
    share: of the tasks, from 0 to 1, by their trace's id, as samplers of OpenTelemetry choose: the same ones
        every time, and those of a smaller share are among those of a larger one.
    repeated: the tasks that were delivered, started, kept or answered more than once.
    """

    tasks: str | None = None
    share: float | None = None
    repeated: bool = False


def chosen(folder: RunFolder, selection: Selection) -> list[int]:
    """The tasks' indexes, in order. Raises ConfigurationError."""
    spec = folder.read_run().spec
    found: set[int] = set()
    if selection.tasks is not None:
        found.update(_indexes(selection.tasks, spec.run, spec.tasks))
    if selection.repeated:
        found.update(each.index for each in duplicates(folder))
    if selection.share is not None:
        origin, bound = RunIdentity.of(folder), round(selection.share * 2**64)
        found.update(index for index in range(spec.tasks) if origin.trace_id(index) % 2**64 < bound)
    elif selection.tasks is None and not selection.repeated:
        if spec.tasks > MOST_UNASKED:
            raise ConfigurationError(
                f"run {spec.run} has {spec.tasks:,} tasks, and each would be a trace: say how many you want, "
                "by --sample 0.01 for one in a hundred (1 for all), --tasks for some, or --duplicates"
            )
        return list(range(spec.tasks))
    return sorted(found)


_PART: Final = re.compile(r"([0-9]{1,12})(?:-([0-9]{1,12}))?", re.ASCII)


def _indexes(text: str, run: str, tasks: int) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part.strip())
        if match is None:
            raise ConfigurationError(f'--tasks: expected indexes and ranges, as 3,17,100-120, found "{part}"')
        first, last = int(match[1]), int(match[2] or match[1])
        if first > last or last >= tasks:
            raise ConfigurationError(
                f"--tasks: run {run} has no tasks {part}; it has {tasks:,}, numbered from 0 to {tasks - 1}"
            )
        found.update(range(first, last + 1))
    return found
