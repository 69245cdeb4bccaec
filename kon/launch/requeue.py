"""Redrive: some tasks of a run that is over are run again, and the others stay as they are."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import closing

import msgspec

from kon.core.journal import FileJournal
from kon.core.task import CLIENT, Answers, Outcome, State, encode
from kon.engine.client import RECORDED_AT_ONCE
from kon.engine.packing import chunks
from kon.engine.records.records import RunFolder


def requeue(folder: RunFolder, indexes: Collection[int]) -> None:
    """Have these tasks of a finished run queued again, by the next client of the run.

    Raises ConfigurationError where their attempts are at the limit.
    """
    others = [
        outcome
        for _, outcome in folder.outcomes()
        if outcome.index not in indexes and outcome.state is not State.DONE
    ]
    reopen(folder, others)


def reopen(folder: RunFolder, stay: Sequence[Outcome]) -> None:
    """Open a run again for what is not done, but for these outcomes, which stand. Killed at any moment, it
    leaves the run as it was, or as it is to be.

    Raises ConfigurationError where attempts are at the limit.
    """
    attempts_before = folder.attempts_so_far()
    # first, and on disk: from the moment on at which the run is open, a client runs what does not stand
    record_again(folder, stay, attempts_before + 1)
    folder.reopen(attempts_before)


def record_again(folder: RunFolder, outcomes: Sequence[Outcome], attempt: int) -> None:
    """Record outcomes under the attempt with which a round begins, so that they stand in it."""
    with closing(FileJournal(folder.results)) as journal:
        for part in chunks(outcomes, RECORDED_AT_ONCE):
            again = [msgspec.structs.replace(each, attempt=attempt) for each in part]
            journal.append([encode(Answers(CLIENT, again))])
        if outcomes:
            journal.sync()
