"""`make mutants`: changes a task's way through engine, strategies and backends, and looks what finds that.

Each change is made in a copy of the project. Tests of the rooms run there first; where they pass, the search
does (`kon prove`). A change that neither finds is a survivor. Exit code 1 where there is one that
`tests/mutants/harmless.txt` does not name with its reason.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from kon.trials.prove.coverage import DATA_PATH
from tests.mutants.changes import Mutant, changed, mutants

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
            "tests/conformance/test_client_lease.py",
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
                for each in ("calls", "queue", "queue_bodies", "queue_given_back", "bodies")
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

LEFT_OUT: Final = ("peek.py",)
"""Where no task's way leads: tests of commands and processes hold them."""

LIMIT_S: Final = 900.0
"""How long the tests may take under one change, on a slow machine too: one that never ends is found."""

HARMLESS: Final = Path(__file__).with_name("harmless.txt")


def every() -> list[tuple[Mutant, Room]]:
    """All changes there are, in the order of rooms, files and lines."""
    return [
        (mutant, room)
        for room in ROOMS.values()
        for pattern in room.sources
        for file in sorted(PROJECT.glob(pattern))
        if file.name not in LEFT_OUT
        for mutant in mutants(str(file.relative_to(PROJECT)), file.read_text(encoding="utf-8"))
    ]


def copied(folder: Path) -> Path:
    """The project in another folder, whose own files are run there."""
    for name in ("kon", "strategies", "tests", "workloads"):
        # kon/strategies is a link: as a second copy of the folder it would be run, and the other be changed
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PROJECT / name, folder / name, symlinks=True, ignore=ignored)
    shutil.copy(PROJECT / "pyproject.toml", folder)
    return folder


def found_by(mutant: Mutant, room: Room, copy: Path) -> str:
    """Who finds this change; see `who_fails`."""
    file = copy / mutant.file
    original = file.read_text(encoding="utf-8")
    replace(file, changed(original, mutant))
    try:
        return who_fails(copy, room, file.stem)
    finally:
        replace(file, original)


def replace(file: Path, text: str) -> None:
    """Write a source, and forget what Python has compiled of it, which would stand for a text that is as long
    and of the same second."""
    file.write_text(text, encoding="utf-8")
    Path(importlib.util.cache_from_source(str(file))).unlink(missing_ok=True)


def who_fails(copy: Path, room: Room, about: str = "") -> str:
    """Who fails on the project in this folder: `tests`, `search`, or nobody.

    about: of a module; tests whose file is called after it are run first.
    """
    named = [
        file for each in room.tests if about for file in sorted((copy / each).glob(f"test_*{about}*.py"))
    ]
    first = [str(file.relative_to(copy)) for file in named]
    tests = ["-m", "pytest", "-q", "-x", "-n", "0", "-p", "no:cacheprovider", *first, *room.tests]
    if not _passes(tests, copy):
        return "tests"
    for search in room.searches:
        words = ["prove", *search.split(), "--fault", "all", "--jobs", "1", "-q", "--no-story"]
        if not _passes(["-m", "kon", *words], copy):
            return "search"
    return ""


def _passes(words: Sequence[str], copy: Path) -> bool:
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    try:
        done = subprocess.run(
            [sys.executable, *words], cwd=copy, env=environment, capture_output=True, timeout=LIMIT_S
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def harmless() -> set[str]:
    """The changes that are known to do no harm, without the line, which moves."""
    lines = HARMLESS.read_text(encoding="utf-8").splitlines()
    return {line.partition(" # ")[0] for line in lines if line and not line.startswith("#")}


def key(mutant: Mutant) -> str:
    return f"{mutant.file}: {mutant.about}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.mutants")
    parser.add_argument("--count", type=int, default=150, help="how many changes, drawn from all")
    parser.add_argument("--seed", type=int, default=1, help="which of them")
    parser.add_argument("--only", nargs="*", default=[""], help="changes with one of these in their name")
    parser.add_argument("--limit-s", type=float, default=float("inf"), help="begin none after that")
    args = parser.parse_args()
    all_of_them = [each for each in every() if any(some in each[0].name for some in args.only)]
    known = harmless()
    drawn = random.Random(args.seed).sample(all_of_them, min(args.count, len(all_of_them)))
    began_s, survivors, counts = time.monotonic(), [], {"tests": 0, "search": 0, "": 0}
    with tempfile.TemporaryDirectory(prefix="kon-mutants-") as folder:
        copy = copied(Path(folder))
        for name, room in ROOMS.items():
            if any(room is each for _, each in drawn) and (by := who_fails(copy, room)):
                print(f"{name}: without any change the {by} fail: mend that first")
                return 2
        for mutant, room in drawn:
            if time.monotonic() - began_s > args.limit_s:
                break
            by = found_by(mutant, room, copy)
            counts[by] += 1
            print(f"{by or 'SURVIVED':8}  {mutant.name}", flush=True)
            if not by and key(mutant) not in known:
                survivors.append(mutant)
    print(
        f"{sum(counts.values())} of {len(all_of_them):,} changes: {counts['tests']} found by tests, "
        f"{counts['search']} by the search, {counts['']} by nobody, {len(survivors)} of these not explained"
    )
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
