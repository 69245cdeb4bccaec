"""What commands write, handed on as they write it, for a client on the same machine that shows it at once.

A worker appends to two files of its own, `NUMBER.out` and `NUMBER.err`; the client reads them as they grow
(see kon.api.relay).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, Literal

from kon.kinds.capture import Capture, Text

Mode = Literal["lines", "chunks"]
"""`lines`: whole lines, so that those of two commands do not mix; `chunks`: whatever comes."""

_SUFFIXES: Final = (".out", ".err")


class Live:
    """The two files of one worker."""

    def __init__(self, folder: Path, mode: Mode) -> None:
        """Raises OSError where the files can't be made."""
        self._mode = mode
        folder.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._fds = [os.open(folder / f"{os.getpid()}{suffix}", flags, 0o600) for suffix in _SUFFIXES]

    def of(self, captures: tuple[Capture, Capture], tag: bytes) -> tuple[LiveCapture, LiveCapture]:
        """Captures of a command's stdout and stderr that show what they take. `tag`: before each line."""
        out, err = captures
        return LiveCapture(out, self._fds[0], self._mode, tag), LiveCapture(
            err, self._fds[1], self._mode, tag
        )

    @property
    def files(self) -> tuple[int, int]:
        """Their descriptors, for programs that write by themselves."""
        return self._fds[0], self._fds[1]

    def close(self) -> None:
        for fd in self._fds:
            os.close(fd)
        self._fds = []


class LiveCapture(Capture):
    """Hands on what it takes, to a file and to another capture."""

    __slots__ = ("_fd", "_inner", "_mode", "_problem", "_rest", "_tag")

    def __init__(self, inner: Capture, fd: int, mode: Mode, tag: bytes) -> None:
        super().__init__(0)
        self._inner = inner
        self._fd = fd
        self._mode = mode
        self._tag = tag
        self._rest = b""
        self._problem: OSError | None = None

    def add(self, chunk: bytes) -> None:
        self.size_bytes += len(chunk)
        self._inner.add(chunk)
        if self._mode == "chunks" and not self._tag:
            self._show(chunk)
            return
        whole, end, rest = (self._rest + chunk).rpartition(b"\n")
        self._rest = rest
        if end:
            self._show(b"".join(self._tag + line + b"\n" for line in whole.split(b"\n")))

    def end(self) -> str | None:
        if self._rest:
            self._show(self._tag + self._rest)
            self._rest = b""
        file = self._inner.end()
        if self._problem is not None:
            if file is not None:
                Path(file).unlink(missing_ok=True)
            raise self._problem
        return file

    def text(self) -> Text:
        return self._inner.text()

    def drop(self) -> None:
        self._inner.drop()

    def _show(self, data: bytes) -> None:
        try:
            os.write(self._fd, data)  # one write: what two commands show at once does not mix
        except OSError as error:
            self._problem = error
