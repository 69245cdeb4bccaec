"""Power cuts on the disk itself: of database, log and results, what was not synced is gone or torn.

As test_power_cut.py, which trusts SQLite's FULL, but from the writes and syncs that a run really made.
"""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path
from typing import Final

import pytest

from kon.core.journal import FileJournal
from kon.core.task import State
from tests.engine.disk import Op, after_a_cut, can_trace, traced
from tests.engine.test_power_cut import TASKS, run, spec

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*half a line"),
    pytest.mark.skipif(not can_trace(), reason="there is no strace that may look at processes"),
]

PROJECT: Final = Path(__file__).parents[2]
CUTS: Final = 24
"""Power cuts that are tried of a run, spread over it."""


def run_on_disk(strategy: str, tmp_path: Path, durable: bool) -> list[Op]:
    """What a run does to its files, from its beginning to its end."""
    live = tmp_path / "live"
    live.mkdir()
    command = [sys.executable, "-m", "tests.engine.test_power_on_disk", strategy, str(live), str(durable)]
    return traced(command, live, tmp_path / "strace", PROJECT)


async def cut_everywhere(ops: list[Op], strategy: str, tmp_path: Path) -> list[int]:
    """How many tasks are done in the end, after each cut: right before a sync, where most can be lost."""
    syncs = [at for at, op in enumerate(ops) if op.call in ("fsync", "fdatasync")]
    left = [
        after_a_cut(ops[:at], random.Random(number) if half else None)
        for number, at in enumerate(syncs[:: max(1, len(syncs) // CUTS)])
        for half in (False, True)
    ]
    return await asyncio.gather(
        *(go_on(files, strategy, tmp_path / f"{number:03}") for number, files in enumerate(left))
    )


async def go_on(files: dict[str, bytes], strategy: str, folder: Path) -> int:
    """How many tasks are done in the end, where these files are left."""
    for file, content in files.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(content)
    folder.mkdir(exist_ok=True)
    tally = await run(spec(strategy, folder), folder, FileJournal(folder / "results.jsonl"))
    return tally.counts[State.DONE]


@pytest.mark.parametrize("strategy", ["lease", "none"])
def test_no_task_is_lost_wherever_the_power_is_cut(strategy: str, tmp_path: Path) -> None:
    ops = run_on_disk(strategy, tmp_path, durable=True)
    assert {"results.jsonl", "r/kon.db", "r/kon.db-wal"} <= {op.file for op in ops}
    done = asyncio.run(cut_everywhere(ops, strategy, tmp_path))
    assert len(done) >= CUTS
    assert set(done) == {TASKS}


@pytest.mark.parametrize(("durable", "done"), [(True, TASKS), (False, 0)])
def test_results_are_there_after_a_cut_only_if_they_were_synced(
    durable: bool, done: int, tmp_path: Path
) -> None:
    """The worst cut: the run has ended, its database is on disk, and of its results what was synced."""
    ops = run_on_disk("none", tmp_path, durable)
    written = {op.file for op in ops if op.file != "results.jsonl"}
    files = after_a_cut([*ops, *(Op("fdatasync", file) for file in written)])
    assert asyncio.run(go_on(files, "none", tmp_path / "cut")) == done


if __name__ == "__main__":
    _, strategy, folder, durable = sys.argv
    live = Path(folder)
    journal = FileJournal(live / "results.jsonl", durable=durable == "True")
    asyncio.run(run(spec(strategy, live), live, journal))
