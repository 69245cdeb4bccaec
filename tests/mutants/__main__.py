"""`make mutants`: changes a task's way through engine, strategies and backends, and looks what finds that.

Each change is made in a copy of the project. First those tests of its room run there that run the changed
line; where they pass, the search does (`kon prove`). A change that neither finds is a survivor. Exit code 1
where there is one that `tests/mutants/harmless.txt` does not name with its reason.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import queue
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from kon.trials.prove.coverage import DATA_PATH
from tests.mutants.changes import Mutant, changed, mutants
from tests.mutants.ready import NOT_IN_A_FUNCTION, PYTEST, Ready

PROJECT: Final = Path(__file__).parents[2]


def _data_path(backend: str) -> tuple[str, ...]:
    return tuple(f"kon/backends/{backend}/{each.replace('.', '/')}.py" for each in DATA_PATH[backend])


class Room(NamedTuple):
    """sources: what is changed. tests, searches: what looks for that; a search is words of `kon prove`."""

    sources: Sequence[str]
    tests: Sequence[str]
    searches: Sequence[str]


ROOMS: Final = {
    "engine": Room(
        ("kon/engine/*.py", "strategies/*.py", "kon/core/journal.py"),
        (
            *("tests/strategies", "tests/engine", "--ignore=tests/engine/watchers"),
            *("tests/conformance/test_client_lease.py", "tests/core/test_journal.py"),
            "tests/core/test_journal_scan.py",
        ),
        ("lease --seeds 60", "conditional_put --seeds 40", "none --seeds 20"),
    ),
    "here": Room(
        ("kon/backends/memory/queue.py", *_data_path("sqlite")),
        (
            *("tests/backends", "--ignore=tests/backends/aws", "--ignore=tests/backends/emulator"),
            *("--ignore=tests/backends/sim", "tests/conformance", "-k", "not aws"),
        ),
        ("lease --backend sqlite --seeds 40", "none --backend sqlite --seeds 20"),
    ),
    "aws": Room(
        _data_path("aws"),
        (
            *(
                f"tests/backends/aws/test_{each}.py"
                for each in ("calls", "ownership", "queue", "queue_bodies", "queue_given_back", "bodies")
            ),
            *(
                f"tests/backends/aws/test_{each}.py"
                for each in ("dynamodb_faults", "dynamodb_rows", "pace", "s3_ledger", "long_tasks")
            ),
            "tests/backends/aws/lean",
        ),
        ("lease --backend aws --seeds 40", "fifo --backend aws --seeds 20"),
    ),
}
"""A task's way: through the engine and the strategies, and the data path of each backend."""

LIMIT_S: Final = 900.0
"""How long one search may take under a change: one that never ends is found."""

SLOWER: Final = 10
"""A test may take so many times as long as without the change, and `LEAST_S` more: else it never ends."""

LEAST_S: Final = 10.0

HARMLESS: Final = Path(__file__).with_name("harmless.txt")


class Ran(msgspec.Struct):
    """What one test did. has_processes: what lines they run is not known."""

    took_s: float
    has_processes: bool
    lines: dict[str, list[int]]


class Notes(msgspec.Struct):
    """What tests run without any change. imported: lines that run once, at an import."""

    imported: dict[str, list[int]]
    tests: dict[str, Ran]

    def about(self, mutant: Mutant) -> dict[str, float]:
        """The tests that run what is changed, and for how long each may: the module's own first, and then the
        quick ones. All tests of its file where none was seen to: it may have run before they were noted."""
        lines = range(mutant.line, mutant.upto + 1)
        imported = not set(lines).isdisjoint(self.imported.get(mutant.file, ()))
        chosen = [
            name
            for name, test in self.tests.items()
            if test.has_processes
            or (imported and mutant.file in test.lines)
            or not set(lines).isdisjoint(test.lines.get(mutant.file, ()))
        ] or [name for name, test in self.tests.items() if mutant.file in test.lines]
        stem = Path(mutant.file).stem
        chosen.sort(
            key=lambda name: (stem not in Path(name.partition("::")[0]).stem, self.tests[name].took_s)
        )
        return {name: LEAST_S + SLOWER * self.tests[name].took_s for name in chosen}


def every() -> list[tuple[Mutant, Room]]:
    """All changes there are, in the order of rooms, files and lines."""
    return [
        (mutant, room)
        for room in ROOMS.values()
        for pattern in room.sources
        for file in sorted(PROJECT.glob(pattern))
        for mutant in mutants(str(file.relative_to(PROJECT)), file.read_text(encoding="utf-8"))
    ]


class Copy:
    """The project in another folder, whose own files are run there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.told = folder / "told.txt"
        self._environment = {**os.environ, "PYTHONPATH": str(folder)}
        self._ready: dict[Room, Ready] = {}
        for name in ("kon", "strategies", "tests", "workloads"):
            # kon/strategies is a link: a second copy of the folder would be run, and the other be changed
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(PROJECT / name, folder / name, symlinks=True, ignore=ignored)
        shutil.copy(PROJECT / "pyproject.toml", folder)

    def notes(self, room: Room) -> Notes | None:
        """None where something fails though nothing is changed. Kept until a source or a test changes."""
        of = hashlib.sha256(repr((room, sys.version)).encode())
        for file in sorted(self.folder.rglob("*.py")):
            of.update(file.read_bytes())
        kept = PROJECT / ".cache" / "mutants" / f"{of.hexdigest()[:16]}.json"
        if not kept.exists():
            path = self.folder / "notes.json"
            words = (
                "-m",
                "pytest",
                *PYTEST,
                "-p",
                "tests.mutants.lines",
                "--note-lines",
                str(path),
                *room.tests,
            )
            if self._fails(*words) or self.search(room):
                return None
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(path, kept)
        return msgspec.json.decode(kept.read_bytes(), type=Notes)

    def found_by(self, mutant: Mutant, room: Room, notes: Notes) -> str:
        """Who finds this change: `tests`, `endless` where one of them never ends, `search`, or nobody.

        A change that is known to do no harm is not searched for.
        """
        file = self.folder / mutant.file
        original = file.read_text(encoding="utf-8")
        replace(file, changed(original, mutant))
        try:
            by = self.test(mutant, room, notes, original)
            return by or ("" if key(mutant) in harmless() else self.search(room))
        finally:
            replace(file, original)

    def test(self, mutant: Mutant, room: Room, notes: Notes, before: str | None = None) -> str:
        """Which of `tests` and `endless` the tests of this place are, on the copy as it is now.

        before: the text of its file without the change; None where there is none.
        """
        limits_s = notes.about(mutant)
        if not limits_s:
            return ""
        if before is None:
            before = (self.folder / mutant.file).read_text(encoding="utf-8")
        if room not in self._ready:
            self._ready[room] = Ready(self.folder, room.tests, self._environment, self.told)
        code = self._ready[room].run(mutant.file, before, limits_s)
        if code == NOT_IN_A_FUNCTION:
            return "tests" if self._fails("-m", "pytest", *PYTEST, *limits_s) else ""
        return "endless" if code < 0 else "tests" if code else ""

    def search(self, room: Room) -> str:
        for search in room.searches:
            words = ["prove", *search.split(), "--fault", "all", "--jobs", "1", "-q", "--no-story"]
            if self._fails("-m", "kon", *words):
                return "search"
        return ""

    def _fails(self, *words: str) -> bool:
        try:
            done = subprocess.run(
                [sys.executable, *words],
                cwd=self.folder,
                env=self._environment,
                capture_output=True,
                timeout=LIMIT_S,
            )
        except subprocess.TimeoutExpired:
            return True
        return done.returncode != 0

    def close(self) -> None:
        for ready in self._ready.values():
            ready.close()


def replace(file: Path, text: str) -> None:
    """Write a source, and forget what Python has compiled of it, which would stand for a text that is as long
    and of the same second."""
    file.write_text(text, encoding="utf-8")
    Path(importlib.util.cache_from_source(str(file))).unlink(missing_ok=True)


def harmless() -> set[str]:
    """The changes that are known to do no harm, without the line, which moves."""
    lines = HARMLESS.read_text(encoding="utf-8").splitlines()
    return {line.partition(" # ")[0] for line in lines if line and not line.startswith("#")}


def key(mutant: Mutant) -> str:
    return f"{mutant.file}: {mutant.about}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.mutants")
    parser.add_argument(
        "--count", type=int, help="how many changes, drawn from all (all, where --only is said)"
    )
    parser.add_argument("--seed", type=int, default=1, help="which of them")
    parser.add_argument("--only", nargs="*", default=[], help="changes with one of these in their name")
    parser.add_argument("--tests", nargs="*", help="tests that look for them, in place of the room's")
    parser.add_argument("--jobs", type=int, default=1, help="how many changes are tried at once")
    parser.add_argument("--limit-s", type=float, default=float("inf"), help="begin none after that")
    args = parser.parse_args()
    all_of_them = [each for each in every() if any(some in each[0].name for some in args.only or [""])]
    count = len(all_of_them) if args.only else 150
    drawn = all_of_them
    if args.count is not None or not args.only:
        drawn = random.Random(args.seed).sample(drawn, min(args.count or count, len(drawn)))
    if args.tests:
        drawn = [(mutant, room._replace(tests=tuple(args.tests), searches=())) for mutant, room in drawn]
    if not drawn:
        print("no change has such a name")
        return 2
    with tempfile.TemporaryDirectory(prefix="kon-mutants-") as folder:
        copies = [Copy(Path(folder) / str(number)) for number in range(args.jobs)]
        try:
            return _try(drawn, copies, args.limit_s)
        finally:
            for copy in copies:
                copy.close()


def _try(drawn: Sequence[tuple[Mutant, Room]], copies: Sequence[Copy], limit_s: float) -> int:
    began_s, known, survivors, counts = time.monotonic(), harmless(), [], Counter[str]()
    notes: dict[Room, Any] = {}
    for room in {room: None for _, room in drawn}:
        notes[room] = copies[0].notes(room)
        if notes[room] is None:
            print(f"{' '.join(room.tests)}: fails without any change: mend that first")
            return 2
    free: queue.SimpleQueue[Copy] = queue.SimpleQueue()
    for copy in copies:
        mutant, room = drawn[0]
        if copy.test(mutant, room, notes[room]):
            print(f"{copy.told.read_text()}\nwhat passes by itself fails where its modules are loaded before")
            return 2
        free.put(copy)

    def attempt(mutant: Mutant, room: Room) -> str | None:
        if time.monotonic() - began_s > limit_s:
            return None
        copy = free.get()
        try:
            return copy.found_by(mutant, room, notes[room])
        finally:
            free.put(copy)

    with ThreadPoolExecutor(len(copies)) as pool:
        for (mutant, room), by in zip(drawn, pool.map(attempt, *zip(*drawn)), strict=True):
            if by is None:
                continue
            counts[by] += 1
            explained = "" if by or key(mutant) not in known else ": harmless"
            tests = "" if by or notes[room].about(mutant) else " (no test runs it)"
            print(f"{by or 'SURVIVED':8}  {mutant.name}{explained}{tests}", flush=True)
            if not by and not explained:
                survivors.append(mutant)
    print(
        f"{counts.total()} changes: {counts['tests'] + counts['endless']} found by tests, "
        f"{counts['endless']} of these as they never end, {counts['search']} by the search, "
        f"{counts['']} by nobody, {len(survivors)} of these not explained"
    )
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
