"""The tasks of an experiment: how many, which bodies, how long they ideally take.

Bodies stream. A first pass checks each, counts and digests them before anything is submitted; the
second hands them out.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from kon.core.errors import ConfigurationError, WorkloadError
from kon.core.kind import Kind
from kon.core.spec import Plugin
from kon.core.task import encode_body
from kon.experiment.sources import Bad, Numbered, Source

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


class Workload:
    """One source, read by one kind's rules. All but the constructor raise WorkloadError.

    per_worker: one round of the source for each worker, not for the run.
    limit: at most so many tasks of a run.
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
        for number, body in itertools.islice(bodies, limit):
            tasks += 1
            if body is not previous:
                try:
                    if type(body) is Bad:
                        raise ConfigurationError(body.text)
                    encoded = encode_body(body)
                    check(body)
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
