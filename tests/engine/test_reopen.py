"""A finished run whose tasks are run again: the number that their next attempt gets."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from kon.core.journal import FileJournal
from kon.core.spec import Plugin, RunSpec
from kon.core.task import MAX_ATTEMPTS, Answers, Outcome, State, encode
from kon.engine.records.records import RunFolder

SPEC = RunSpec(
    run="again",
    experiment="again",
    backend=Plugin("sqlite"),
    strategy=Plugin("conditional_put"),
    kind=Plugin("sleep"),
    tasks=2,
    workers=1,
    attempts=3,
)


@pytest.mark.parametrize(
    ("state", "attempts", "before", "wanted"),
    [
        (State.FAILED, 3, 0, 2),  # the highest that is recorded
        (State.LOST, 3, 0, 3),  # a worker that died may have claimed each of the three
        (State.LOST, 3, 3, 6),
        (State.LOST, 30, 0, 2),  # no more than leaves room for the next round
    ],
)
def test_attempts_go_on_where_no_claim_is_in_the_way(
    tmp_path: Path, state: State, attempts: int, before: int, wanted: int
) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.write_run(msgspec.structs.replace(SPEC, attempts=attempts), {}, before)
    journal = FileJournal(folder.results)
    outcomes = [Outcome(0, 2, State.DONE), Outcome(1, 1, state)]
    journal.append([encode(Answers("w1", outcomes))])
    journal.close()
    folder.reopen()
    assert folder.read_run().attempts_before == wanted
    assert wanted + attempts <= MAX_ATTEMPTS
