"""Sources of task bodies: what stands under `workload:`, one round of it at a time.

A source is read more than once: to check and count it, and to submit it. It holds no more than the
experiment file itself does, except for the names that a glob finds.
"""

from __future__ import annotations

import glob
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from kon.core.errors import ConfigurationError, WorkloadError
from kon.core.kind import Kind, MadeUp, Several

MAX_LINE_BYTES: Final = 16 * 1024 * 1024
"""A longer line is a sign that the file is no workload; no backend takes such a body."""


class Bad(NamedTuple):
    """In place of a body: what is wrong with it."""

    text: str


Numbered = tuple[int, Any]
"""A number that `Source.place` makes a name of, and a body or `Bad`."""


class Source(ABC):
    """Bodies, the same in each round. Raises WorkloadError for what can't be read at all."""

    name: str
    """What an error calls the source as a whole."""

    @abstractmethod
    def round(self) -> Iterator[Numbered]:
        """Every body once, in order."""

    @abstractmethod
    def place(self, number: int) -> str:
        """Where a body stands, for an error."""

    @property
    def samples(self) -> Sequence[Numbered] | None:
        """Bodies that stand for all others; None where each must be looked at."""
        return None

    @property
    def signature(self) -> str:
        """What makes the bodies, where there are samples: equal for equal bodies."""
        return ""

    def __len__(self) -> int:
        """How many bodies a round has, where there are samples."""
        return sum(1 for _ in self.round())


class Items(Source):
    """Values at hand, perhaps `Several` in place of one.

    place: where each stands, for errors; without it they are numbered.
    """

    def __init__(self, items: Sequence[Any], name: str, place: Callable[[int], str] | None = None) -> None:
        self.name = name
        self._items = items
        self._place = place or (lambda number: f"{name}[{number}]")

    def round(self) -> Iterator[Numbered]:
        for number, item in enumerate(self._items):
            for body in item.make() if type(item) is Several else (item,):
                yield number, body

    def place(self, number: int) -> str:
        return self._place(number)


class Made(Source):
    """Bodies that are made, not read.

    noun: what a body is called by its number, such as "task".
    """

    def __init__(self, made: MadeUp, name: str, numbers: range, noun: str) -> None:
        self.name = name
        self._made = made
        self._numbers = numbers
        self._noun = noun

    def round(self) -> Iterator[Numbered]:
        return zip(self._numbers, self._made.make())

    def place(self, number: int) -> str:
        return f"{self._noun} {number}"

    @property
    def samples(self) -> Sequence[Numbered] | None:
        bodies = self._made.samples
        if bodies is None:
            return None
        ends = (self._numbers[0], self._numbers[-1])
        return list(zip(ends, bodies))

    @property
    def signature(self) -> str:
        return self._made.signature

    def __len__(self) -> int:
        return len(self._numbers)


def matching_files(patterns: Sequence[str], folder: Path) -> list[str]:
    """The files that match, sorted, as absolute paths: workers may run in other folders.

    Raises WorkloadError for a pattern that no file matches, or a file whose name is not UTF-8.
    """
    files: set[str] = set()
    for pattern in patterns:
        found = [
            os.path.abspath(path)  # noqa: PTH100 - `..` is taken away by name, as people read it; links stay
            for path in glob.iglob(str(folder / pattern), recursive=True)  # noqa: PTH207 - may be absolute
            if Path(path).is_file()
        ]
        if not found:
            raise WorkloadError(f'no file matches "{pattern}" (looked from the folder {folder.absolute()})')
        files.update(found)
    for path in files:
        try:
            path.encode()
        except UnicodeEncodeError as error:
            raise WorkloadError(
                f"the name of the file {os.fsencode(path)!r} is not UTF-8; rename it"
            ) from error
    return sorted(files)


class Lines(Source):
    """A file with one task a line; blank lines and lines that start with `#` are left out."""

    def __init__(self, path: Path, kind: Kind) -> None:
        self.name = str(path)
        self._path = path
        self._kind = kind
        self._seen: tuple[int, int, int] | None = None

    def place(self, number: int) -> str:
        return f"{self._path}:{number}"

    def round(self) -> Iterator[Numbered]:
        try:
            if not stat.S_ISREG(self._path.stat().st_mode):
                what = "a folder" if self._path.is_dir() else "not a regular file, which can be read twice"
                raise WorkloadError(f"{self._path}: is {what}")
            with self._path.open("rb", buffering=1 << 20) as file:
                self._check_unchanged(os.fstat(file.fileno()))
                yield from self._lines(file.readline)
        except OSError as error:
            raise WorkloadError(f"{self._path}: can't be read: {error.strerror}") from error

    def _lines(self, readline: Callable[[int], bytes]) -> Iterator[Numbered]:
        of_line = self._kind.body_of_line
        previous, previous_body = b"", None
        number = 0
        while raw := readline(MAX_LINE_BYTES + 1):
            number += 1
            if raw == previous:  # most files of sleeps say the same all along
                yield number, previous_body
                continue
            if number == 1:
                raw = raw.removeprefix(b"\xef\xbb\xbf")
            if len(raw) > MAX_LINE_BYTES:
                raise WorkloadError(f"{self.place(number)}: the line is longer than {MAX_LINE_BYTES} bytes")
            if b"\0" in raw:
                raise WorkloadError(f"{self.place(number)}: the file is binary, or text that is not UTF-8")
            try:
                line = raw.decode().rstrip("\r\n")
                if not line.strip() or line.lstrip().startswith("#"):
                    continue
                body = of_line(line)
            except UnicodeDecodeError as error:
                found = raw[error.start : error.start + 1].hex()
                yield (
                    number,
                    Bad(f"expected UTF-8 text, found the byte 0x{found} in column {error.start + 1}"),
                )
            except ConfigurationError as error:
                yield number, Bad(str(error))
            else:
                if type(body) is Several:
                    yield from ((number, each) for each in body.make())
                    continue
                previous, previous_body = raw, body
                yield number, body

    def _check_unchanged(self, found: os.stat_result) -> None:
        seen = (found.st_ino, found.st_size, found.st_mtime_ns)
        if self._seen is not None and seen != self._seen:
            raise WorkloadError(
                f"{self._path}: the file has changed since it was checked, so the tasks submitted so far may "
                "not be its own; cancel the run and start it again"
            )
        self._seen = seen
