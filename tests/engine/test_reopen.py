"""A finished run whose tasks are run again: the number that their next attempt gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from kon.core.errors import ConfigurationError
from kon.core.journal import FileJournal
from kon.core.spec import Plugin, RunSpec
from kon.core.task import LAST_ATTEMPT, Answers, Outcome, State, encode
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
    ("state", "lives", "before", "wanted"),
    [
        (State.FAILED, 5, 0, 2),  # the highest that is recorded
        (State.LOST, 0, 0, 3),  # a worker that died may have claimed each of the three
        (State.LOST, 0, 3, 6),
        (State.LOST, 5, 3, 11),  # five workers may have been told to stop, and each stop adds an attempt
        (State.CANCELLED, 5, 0, 8),  # its client knows no more of the task than of a lost one
        (State.LOST, 5, LAST_ATTEMPT - 7, LAST_ATTEMPT - 3),  # no more than leaves room for the next round
    ],
)
def test_attempts_go_on_where_no_claim_is_in_the_way(
    tmp_path: Path, state: State, lives: int, before: int, wanted: int
) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.write_run(SPEC, {}, before)
    for journal in [folder.client_events, *(folder.events / f"w{life}.17.jsonl" for life in range(lives))]:
        journal.parent.mkdir(exist_ok=True)
        journal.touch()
    results = FileJournal(folder.results)
    outcomes = [Outcome(0, 2, State.DONE), Outcome(1, 1, state)]
    results.append([encode(Answers("w1", outcomes))])
    results.close()
    folder.reopen()
    assert folder.read_run().attempts_before == wanted


def test_a_run_whose_tasks_had_all_attempts_that_there_may_be_is_not_opened_again(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.write_run(SPEC, {}, LAST_ATTEMPT - 5)
    journal = FileJournal(folder.results)
    journal.append([encode(Answers("w1", [Outcome(0, LAST_ATTEMPT - 2, State.FAILED)]))])
    journal.close()
    with pytest.raises(ConfigurationError, match="its tasks had 8190 attempts, and 8192 in all is the limit"):
        folder.reopen()
