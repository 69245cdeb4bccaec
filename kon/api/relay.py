"""What tasks of this machine write as they run, read from files as these grow (see kon.kinds.live)."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

_READ_BYTES: Final = 1 << 20


class Relay:
    """Hands on what workers append to `NUMBER.out` and `NUMBER.err` in a folder, to stdout and stderr."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._at: dict[str, int] = {}
        """How far each file has been read, in bytes."""
        self.is_mid_line = False
        """Whether what was shown last did not end with a line end."""

    def show(self) -> bool:
        """Show what was written since the last call. Whether there was anything.

        Raises BrokenPipeError when nobody reads it any more.
        """
        try:
            entries = list(os.scandir(self._folder))
        except FileNotFoundError:
            return False  # nothing has been written yet
        found = False
        for entry in entries:
            stream = _STREAMS.get(entry.name[-4:])
            if stream is not None and entry.stat().st_size > self._at.get(entry.name, 0):
                found = True
                self._show(Path(entry.path), stream)
        return found

    def _show(self, path: Path, stream: str) -> None:
        to = getattr(sys, stream)
        with path.open("rb") as file:
            file.seek(self._at.get(path.name, 0))
            while part := file.read(_READ_BYTES):
                if hasattr(to, "buffer"):
                    to.flush()
                    to.buffer.write(part)
                else:  # a notebook's, or a test's
                    to.write(part.decode(errors="backslashreplace"))
                self.is_mid_line = not part.endswith(b"\n")
            self._at[path.name] = file.tell()
        to.flush()


_STREAMS: Final = {".out": "stdout", ".err": "stderr"}
