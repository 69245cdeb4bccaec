"""Counts of a run that goes on, read from its event files as they grow."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from kon.engine.records.events import Event
from kon.engine.records.records import RunFolder
from kon.report.read.follow import Growing, Rewritten

_READ_BYTES: Final = 1 << 22
"""Read of one file in one look, at most, so that no look takes long; the next one reads on."""

_SKIP: Final = f'"e":"{Event.SKIP}"'.encode()


class Avoided:
    """How many repeats the workers have avoided so far."""

    def __init__(self, folder: RunFolder) -> None:
        self.tasks = 0
        self._folder = folder
        self._files: dict[Path, Growing] = {}

    def look(self) -> int:
        """Read what has been written since the last look; the count so far."""
        for file in self._folder.events.glob("*.jsonl"):
            self._read(file)
        return self.tasks

    def _read(self, file: Path) -> None:
        if file not in self._files:
            self._files[file] = Growing(file)
        try:
            whole = self._files[file].read(_READ_BYTES)
        except Rewritten:  # somebody has meddled with the records; what was counted was so
            return
        if _SKIP in whole:
            self.tasks += sum(_tasks(line) for line in whole.split(b"\n") if _SKIP in line)


class _Skip(msgspec.Struct, gc=False):
    i: list[int] = []
    r: tuple[int, int] = (0, 0)


_skips = msgspec.json.Decoder(_Skip)


def _tasks(line: bytes) -> int:
    try:
        skip = _skips.decode(line)
    except msgspec.DecodeError:  # half a line; the summary will say so
        return 0
    return len(skip.i) + skip.r[1]
