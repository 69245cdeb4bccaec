"""SQLite's own queue and ledger under the search, and what the search finds when a safeguard is taken out."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import pytest

from kon.backends.sim.trace import Trace
from kon.backends.sqlite.connection import Connection
from kon.backends.sqlite.ledger import Rows
from kon.backends.sqlite.spans import Spans, _Span
from kon.core.ledger import Record
from kon.core.plugins import strategy_class
from kon.core.queue import Delivery
from kon.core.spec import Plugin
from kon.trials.prove.classes import ALL_FAULTS, FaultClass, fault_class, registered_strategies
from kon.trials.prove.drawn import SCENARIO, play_seed, scenario_of
from kon.trials.prove.on_sqlite import MACHINE_FAULTS, SqliteRates
from kon.trials.prove.playing import play
from kon.trials.prove.scenario import Invariant, Played
from kon.trials.prove.stage import OPERATOR
from tests.cli.given import invoke

BASE: Final = msgspec.structs.replace(SCENARIO, backend="sqlite")
LEASE: Final = Plugin("lease")
SEEDS: Final = 60

STRATEGIES: Final = [each for each in registered_strategies() if not strategy_class(each.name).needs_fifo]


def broken(strategy: Plugin, faults: FaultClass, seeds: range) -> set[Invariant]:
    return {each.invariant for seed in seeds for each in play_seed(BASE, strategy, faults, seed).broken}


@pytest.mark.parametrize(
    "strategy",
    [
        pytest.param(each, id=each.label, marks=[] if each == LEASE else [pytest.mark.long])
        for each in STRATEGIES
    ],
)
def test_promises_hold(strategy: Plugin) -> None:
    assert not broken(strategy, fault_class(ALL_FAULTS, "sqlite"), range(6))


@pytest.mark.parametrize("fault", MACHINE_FAULTS)
def test_each_fault_strikes(fault: str) -> None:
    """And lease holds under each."""
    faults = fault_class(fault, "sqlite")
    played = [play_seed(BASE, LEASE, faults, seed) for seed in range(4)]
    assert {each.fault for one in played for each in one.fired} == {fault}
    assert not [each for one in played for each in one.broken]


def test_an_operator_that_is_killed_stays_where_it_was() -> None:
    """Who held it was let go, so that the garbage collector ended it in the midst of some schedule."""

    def ends(seed: int) -> list[str]:
        rates = SqliteRates(cancel=1.0, statement_kill=0.02)
        trace, scenario = Trace(), msgspec.structs.replace(BASE, strategy=LEASE, rates=rates)
        play(scenario, seed, trace=trace)
        return [step.op for step in trace.steps if step.host == OPERATOR and not step.service]

    assert ["cancels the run", "crashes"] in map(ends, (5, *range(60)))


def test_a_seed_is_one_schedule() -> None:
    """To the last word of its trace, wherever its folder is."""

    def told() -> tuple[Played, str]:
        trace = Trace()
        return play(
            scenario_of(BASE, LEASE, fault_class(ALL_FAULTS, "sqlite"), 3), 3, trace=trace
        ), trace.digest()

    assert told() == told()


def _rest_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A receive that takes a part of a span forgets the rest."""

    def take_from(self: Spans, db: sqlite3.Connection, span: _Span, most: int, due_ms: int) -> list[Delivery]:
        rows = db.execute(self._range, (span.first, span.last, most)).fetchall()
        count = span.receives + 1
        db.execute(self._hold, (rows[-1][0], due_ms, count, len(rows), span.first))
        return [Delivery((key, count), body, count) for key, body in rows]

    patch.setattr(Spans, "_take_from", take_from)


def _any_token(patch: pytest.MonkeyPatch) -> None:
    """A row is replaced whoever holds it."""

    def replace(
        self: Rows, db: sqlite3.Connection, records: Sequence[Record], if_tokens: Sequence[str]
    ) -> list[Record | None]:
        self.put(db, records)
        return [None] * len(records)

    patch.setattr(Rows, "replace", replace)


def _no_transaction(patch: pytest.MonkeyPatch) -> None:
    """Each statement is committed by itself, so that a kill leaves half of a call."""

    def transaction(self: Connection, db: sqlite3.Connection, calls: Sequence[Any]) -> None:
        for call in calls:
            call.reply = call.work(db)

    patch.setattr(Connection, "_transaction", transaction)


def _no_dead_letters(patch: pytest.MonkeyPatch) -> None:
    """A message that was received too often is dropped."""

    def bury(self: Spans, db: sqlite3.Connection, dead: Spans, span: _Span, now_ms: int) -> None:
        db.execute(self._delete, (span.first, span.last))
        db.execute(self._drop, (span.first,))

    patch.setattr(Spans, "_bury", bury)


def _overwritten(patch: pytest.MonkeyPatch) -> None:
    """A new row takes the place of one that is there."""

    def insert_new(self: Rows, db: sqlite3.Connection, records: Sequence[Record]) -> list[Record | None]:
        self.put(db, records)
        return [None] * len(records)

    patch.setattr(Rows, "insert_new", insert_new)


@pytest.mark.parametrize(
    ("take_out", "found_last"),
    [(_rest_forgotten, 0), (_any_token, 8), (_no_transaction, 1), (_no_dead_letters, 24), (_overwritten, 0)],
)
def test_a_safeguard_that_is_taken_out_is_missed(
    take_out: Callable[[pytest.MonkeyPatch], None], found_last: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = fault_class(ALL_FAULTS, "sqlite")
    take_out(monkeypatch)
    for seed in (found_last, *range(SEEDS)):
        try:
            if play_seed(BASE, LEASE, faults, seed).broken:
                return
        except (Exception, ExceptionGroup):
            return
    raise AssertionError(f"{take_out.__doc__} {SEEDS} schedules did not notice")


def test_a_promise_that_breaks_has_a_story(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a fault that no other backend has; it need not be short here."""
    _overwritten(monkeypatch)
    monkeypatch.setattr("kon.cli.prove_found.shortest", lambda *_: None)
    monkeypatch.setattr("kon.cli.prove_found.shorten", lambda example: example)
    found = invoke(
        *("prove", "lease", "--backend", "sqlite", "--fault", "statement_kill", "--seeds", "4"),
        *("--jobs", "1", "--tasks", "4", "-q"),
    )
    assert found.exit_code == 1, found.stderr
    assert "--fault statement_kill --seed" in found.stdout
    assert "!! " in found.stdout or "crashes" in found.stdout


def test_the_command() -> None:
    found = invoke("prove", "lease", "--backend", "sqlite", "--seeds", "3", "--jobs", "1", "-q")
    assert found.exit_code == 0, found.stderr
    assert "statement_kill" in found.stdout
    assert "a power cut" in found.stdout
    refused = invoke("prove", "fifo", "--backend", "sqlite")
    assert refused.exit_code == 2
    assert "needs a FIFO queue, which the backend sqlite does not have" in refused.stderr
    assert invoke("prove", "--backend", "sqlite", "--exhaustive").exit_code == 2
    assert invoke("prove", "lease", "--backend", "sqlite", "--fault", "duplicate").exit_code == 2
