"""The tasks of an experiment: how many, which bodies, how long they ideally take.

Bodies stream. A first pass checks each, counts and digests them before anything is submitted; the
second hands them out.
"""

from __future__ import annotations

import glob
import hashlib
import itertools
import math
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from kon.core.errors import ConfigurationError, WorkloadError
from kon.core.kind import Kind, MadeUp, Several
from kon.core.spec import Plugin
from kon.core.task import encode_body

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


class MadeBodies(Source):
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


MOST_BAD: Final = 10
"""Bad bodies that are listed before the reading stops."""


class Summary(msgspec.Struct, frozen=True):
    """What the first pass finds in one round of the source, or in its beginning.

    ideal_s: the sum of the tasks' own durations; None where one is not known.
    largest_bytes: the largest encoded body.
    """

    tasks: int
    digest: bytes
    ideal_s: float | None
    largest_bytes: int


class TakenKeys:
    """Keys that bodies store under, so that no two store under one: who came last would replace the other."""

    def __init__(self) -> None:
        # hashes in place of texts: 200 bytes for each of a million pictures
        self._by_key: dict[int, tuple[int, int]] = {}

    def add(self, number: int, encoded: bytes, keys: Sequence[str], place: Callable[[int], str]) -> None:
        """Raises ConfigurationError where another body has one of the keys."""
        for key in keys:
            before, content = self._by_key.setdefault(hash(key), (number, hash(encoded)))
            if content != hash(encoded):
                raise ConfigurationError(
                    f'it would be stored as "{key}", and so would that of {place(before)}: one of them would '
                    "be lost. Give each a key of its own; in a template, {} is the whole item, as in "
                    "`small/{}`, and {#} the task's number, as in `small/{#}-{/}`"
                )


class Workload:
    """One source, read by one kind's rules. All but the constructor raise WorkloadError.

    per_worker: one round of the source for each worker, not for the run.
    limit: most tasks of a run.
    """

    def __init__(
        self, kind: Plugin, checker: Kind, source: Source, per_worker: bool = False, limit: int | None = None
    ) -> None:
        """`checker`: the kind itself, made with its options."""
        self.kind = kind
        self._checker = checker
        self._source = source
        self._per_worker = per_worker
        self._limit = limit
        self._round: Summary | None = None

    def count(self, workers: int) -> int:
        """How many tasks there are."""
        total = self._first_pass().tasks * (workers if self._per_worker else 1)
        return total if self._limit is None else min(total, self._limit)

    def bodies(self, workers: int) -> Iterator[Any]:
        """The body of each task, in the order of their indexes; as many as `count` says."""
        self._first_pass()
        rounds = itertools.repeat(self._source, workers if self._per_worker else 1)
        numbered = itertools.chain.from_iterable(source.round() for source in rounds)
        for number, body in itertools.islice(numbered, self._limit):
            if type(body) is Bad:
                raise WorkloadError(f"{self._source.place(number)}: {body.text}")
            yield body

    def ideal_s(self, workers: int) -> float | None:
        """The sum of the tasks' durations in seconds, where they are known beforehand."""
        whole = self._first_pass()
        rounds, rest = divmod(self.count(workers), whole.tasks)
        part = self._pass(rest).ideal_s if rest else 0.0
        if whole.ideal_s is None or part is None:
            return None
        return whole.ideal_s * rounds + part

    def digest(self, workers: int) -> str:
        """Tells this workload from one with other bodies."""
        whole = self._first_pass()
        text = f"{whole.digest.hex()} {whole.tasks} {self.count(workers)}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    @property
    def largest_bytes(self) -> int:
        """The size of the largest body, encoded as JSON."""
        return self._first_pass().largest_bytes

    def _first_pass(self) -> Summary:
        if self._round is None:
            self._round = self._pass(self._limit)
        return self._round

    def _pass(self, limit: int | None) -> Summary:
        """Look at one round, or at its first bodies."""
        samples = self._source.samples
        if samples is None:
            return self._read(self._source.round(), limit)
        found = self._read(iter(samples), limit)
        tasks = len(self._source) if limit is None else min(limit, len(self._source))
        if len(samples) > 1 and found.ideal_s is not None:
            return self._read(self._source.round(), limit)  # tasks of different lengths: all must be added up
        digest = hashlib.sha256(f"{self._source.signature} {tasks}".encode()).digest()
        ideal_s = None if found.ideal_s is None else found.ideal_s * tasks
        return Summary(tasks, digest, ideal_s, found.largest_bytes)

    def _read(self, bodies: Iterator[Numbered], limit: int | None) -> Summary:
        check, duration_s = self._checker.check, self._checker.duration_s
        digest = hashlib.sha256()
        bad: list[str] = []
        tasks = largest_bytes = 0
        total_s: float | None = 0.0
        previous: Any = Bad("")
        encoded, took_s = b"", None
        taken = TakenKeys()
        for number, body in itertools.islice(bodies, limit):
            tasks += 1
            if body is not previous:
                try:
                    if type(body) is Bad:
                        raise ConfigurationError(body.text)
                    encoded = encode_body(body)
                    check(body)
                    taken.add(number, encoded, self._checker.shared_keys(body), self._source.place)
                    took_s = duration_s(body)
                except Exception as error:
                    # a kind that stumbles over a body would do so at every attempt
                    text = (
                        str(error)
                        if isinstance(error, ConfigurationError)
                        else f"{type(error).__name__}: {error}"
                    )
                    bad.append(f"{self._source.place(number)}: {text}")
                    if len(bad) == MOST_BAD:
                        bad.append(
                            f"{self._source.place(number)}: reading stopped after {MOST_BAD} bad tasks"
                        )
                        break
                    continue
                previous = body
                largest_bytes = max(largest_bytes, len(encoded))
            digest.update(encoded)
            digest.update(b"\n")
            if total_s is not None:
                total_s = None if took_s is None else total_s + took_s
        if bad:
            raise WorkloadError("\n".join(bad))
        if not tasks:
            raise WorkloadError(f"{self._source.name}: there is no task in it")
        if total_s is not None and not math.isfinite(total_s):
            raise WorkloadError(f"{self._source.name}: its tasks would take longer than any number can say")
        return Summary(tasks, digest.digest(), total_s, largest_bytes)
