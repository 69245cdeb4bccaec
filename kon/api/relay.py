"""What tasks of this machine write as they run, read from files as these grow (see kon.kinds.live)."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from kon.api import streams

_LOOK_S: Final = 0.1
"""Between two looks at what functions print."""

_READ_BYTES: Final = 1 << 20
_STREAMS: Final = {".out": "stdout", ".err": "stderr"}


class Relay:
    """Hands on what workers append to `NUMBER.out` and `NUMBER.err` in a folder, to stdout and stderr."""

    def __init__(self, folder: Path, *, skips: bool = False, at: Mapping[str, int] | None = None) -> None:
        """`skips`: what is there already was shown by another. `at`: it was shown up to there."""
        self._folder = folder
        self.at = {each.name: each.stat().st_size for each in self._files()} if skips else dict(at or {})
        """How far each file has been read, in bytes."""
        self._turn = threading.Lock()
        self.is_mid_line = False
        """Whether what was shown last did not end with a line end."""

    def show(self, before: Callable[[], None] = lambda: None) -> bool:
        """Show what was written since the last call. Whether there was anything.

        before: called before anything is shown. Raises BrokenPipeError when nobody reads it any more.
        """
        found = False
        with self._turn:
            for entry in self._files():
                stream = _STREAMS.get(entry.name[-4:])
                if stream is not None and entry.stat().st_size > self.at.get(entry.name, 0):
                    if not found:
                        before()
                    found = True
                    self._show(Path(entry.path), stream)
        return found

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show it as it comes, in a thread, and at last what is left."""
        over = threading.Event()

        def work() -> None:
            while not over.wait(_LOOK_S):
                self.show()

        thread = threading.Thread(target=work, name="kon-output", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            self.show()

    def _files(self) -> list[os.DirEntry[str]]:
        try:
            return list(os.scandir(self._folder))
        except FileNotFoundError:
            return []  # nothing has been written yet

    def _show(self, path: Path, stream: str) -> None:
        to = getattr(sys, stream)
        to.flush()
        with path.open("rb") as file:
            at = self.at.get(path.name, 0)
            if hasattr(to, "buffer"):
                at = streams.send(file.fileno(), at, os.fstat(file.fileno()).st_size, to.buffer)
            file.seek(at)
            while part := file.read(_READ_BYTES):
                if hasattr(to, "buffer"):
                    streams.write(to.buffer, part)
                else:  # a notebook's, or a test's
                    to.write(part.decode(errors="backslashreplace"))
            self.at[path.name] = file.tell()
            self.is_mid_line = os.pread(file.fileno(), 1, file.tell() - 1) != b"\n"
        to.flush()
