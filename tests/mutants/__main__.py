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
from typing import Final

from tests.mutants.changes import Mutant, changed, mutants

PROJECT: Final = Path(__file__).parents[2]

SOURCES: Final = (
    "kon/engine/*.py",
    "strategies/*.py",
    "kon/core/journal.py",
    "kon/backends/sqlite/spans.py",
    "kon/backends/sqlite/rows.py",
    "kon/backends/memory/queue.py",
)
"""What is changed: where a task's way is, and the data path of the backends of this machine."""

TESTS: Final = (
    "tests/engine",
    "--ignore=tests/engine/watchers",
    "tests/strategies",
    "tests/backends/test_spans.py",
    "tests/backends/test_memory.py",
    "tests/backends/test_machines.py",
)

SEARCHES: Final = (("lease", 60), ("conditional_put", 40), ("none", 20))
"""Strategies, and schedules of each with all faults at once."""

LIMIT_S: Final = 300.0
"""How long the tests may take under one change: one that never ends is found too."""

HARMLESS: Final = Path(__file__).with_name("harmless.txt")


def every() -> list[Mutant]:
    """All changes there are, in the order of files and lines."""
    files = [file for pattern in SOURCES for file in sorted(PROJECT.glob(pattern))]
    return [
        mutant
        for file in files
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


def found_by(mutant: Mutant, copy: Path) -> str:
    """Who finds this change; see `who_fails`."""
    file = copy / mutant.file
    original = file.read_text(encoding="utf-8")
    replace(file, changed(original, mutant))
    try:
        return who_fails(copy)
    finally:
        replace(file, original)


def replace(file: Path, text: str) -> None:
    """Write a source, and forget what Python has compiled of it, which would stand for a text that is as long
    and of the same second."""
    file.write_text(text, encoding="utf-8")
    Path(importlib.util.cache_from_source(str(file))).unlink(missing_ok=True)


def who_fails(copy: Path) -> str:
    """Who fails on the project in this folder: `tests`, `search`, or nobody."""
    tests = ["-m", "pytest", "-q", "-x", "-n", "0", "-p", "no:cacheprovider", *TESTS]
    if not _passes(tests, copy):
        return "tests"
    for strategy, seeds in SEARCHES:
        search = ["prove", strategy, "--fault", "all", "--seeds", str(seeds), "--jobs", "1", "-q"]
        if not _passes(["-m", "kon", *search, "--no-story"], copy):
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
    parser.add_argument("--only", default="", help="changes with this in their name")
    parser.add_argument("--limit-s", type=float, default=float("inf"), help="begin none after that")
    args = parser.parse_args()
    all_of_them = [each for each in every() if args.only in each.name]
    known = harmless()
    drawn = random.Random(args.seed).sample(all_of_them, min(args.count, len(all_of_them)))
    began_s, survivors, counts = time.monotonic(), [], {"tests": 0, "search": 0, "": 0}
    with tempfile.TemporaryDirectory(prefix="kon-mutants-") as folder:
        copy = copied(Path(folder))
        if by := who_fails(copy):
            print(f"without any change the {by} fail: mend that first")
            return 2
        for mutant in drawn:
            if time.monotonic() - began_s > args.limit_s:
                break
            by = found_by(mutant, copy)
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
