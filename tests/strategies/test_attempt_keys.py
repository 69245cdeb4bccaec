"""Keys of attempts: each is one attempt's alone, and every strategy has its keys from one function."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import pytest

from kon.core.clock import Clock
from kon.core.ledger import Record
from kon.core.plugins import names, strategy_class
from kon.core.spec import Plugin
from kon.core.strategy import Claim, Strategy
from kon.core.task import (
    LAST_ATTEMPT,
    MAX_TASKS,
    Outcome,
    State,
    Task,
    attempt_key,
    attempt_keys,
    task_of_key,
)
from kon.engine.layout import FixedPages, SegmentPages
from tests.engine.counted import Counted
from tests.engine.world import in_virtual_time

ATTEMPTS = [1, 2, 31, 32, 33, 34, 64, 65, 1_025, LAST_ATTEMPT - 1, LAST_ATTEMPT]
INDEXES = [0, 1, 7, 1 << 20, MAX_TASKS - 1]


class Spied(Counted):
    """Notes the keys that it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: set[int] = set()

    async def read(self, keys: Sequence[int]) -> list[Record | None]:
        self.keys.update(keys)
        return await super().read(keys)

    async def insert_new(self, records: Sequence[Record]) -> list[Record | None]:
        self.keys.update(record.key for record in records)
        return await super().insert_new(records)

    async def replace(self, records: Sequence[Record], if_tokens: Sequence[str]) -> list[Record | None]:
        self.keys.update(record.key for record in records)
        return await super().replace(records, if_tokens)

    async def put(self, records: Sequence[Record]) -> None:
        self.keys.update(record.key for record in records)
        await super().put(records)

    async def delete(self, keys: Sequence[int], if_tokens: Sequence[str]) -> list[bool]:
        self.keys.update(keys)
        return await super().delete(keys, if_tokens)


def test_no_two_attempts_have_one_key() -> None:
    keys = {attempt_key(7, attempt) for attempt in range(1, LAST_ATTEMPT + 1)}
    keys |= {attempt_key(index, attempt) for index in INDEXES for attempt in ATTEMPTS}
    assert len(keys) == LAST_ATTEMPT + (len(INDEXES) - 1) * len(ATTEMPTS)
    assert max(keys) < 2**53
    assert {task_of_key(key) for key in keys} == set(INDEXES)


def test_keys_of_attempts_that_an_older_kon_has_claimed_are_the_same() -> None:
    assert [attempt_key(7, attempt) for attempt in (1, 2, 32)] == [7, 1 << 48 | 7, 31 << 48 | 7]


@pytest.mark.parametrize(
    ("index", "attempt"), [(0, 0), (0, LAST_ATTEMPT + 1), (MAX_TASKS, 2), (-1, 2), (7, -1)]
)
def test_an_attempt_that_there_may_not_be_has_no_key(index: int, attempt: int) -> None:
    with pytest.raises(ValueError, match=f"task {index}, attempt {attempt}: no row"):
        attempt_key(index, attempt)
    with pytest.raises(ValueError, match=f"task {index}, attempt {attempt}: no row"):
        attempt_keys([Task(3), Task(index, attempt=attempt)])


@pytest.mark.parametrize("rows", [2, 3, 100])
def test_no_attempt_has_the_key_of_a_page_or_of_a_large_outcome(rows: int) -> None:
    fixed, segments = FixedPages(rows), SegmentPages()
    for index in INDEXES:
        for attempt in ATTEMPTS:
            key = attempt_key(index, attempt)
            assert fixed.is_page(fixed.page_of(key))
            assert segments.is_row(key)
            assert not segments.is_page(key)


OPTIONS = {"read_then_write": [{"record": "after"}, {"record": "before"}]}


@pytest.mark.parametrize(
    "strategy",
    [Plugin(name, options) for name in names("kon.strategies") for options in OPTIONS.get(name, [{}])],
    ids=str,
)
def test_a_strategy_asks_for_rows_of_its_tasks_alone(strategy: Plugin) -> None:
    async def main() -> None:
        for index in INDEXES:
            for attempt in ATTEMPTS:
                keys = await _asked(strategy, Task(index, attempt=attempt))
                assert keys <= {index, attempt_key(index, attempt)}
        keys = set[int]()
        with suppress(ValueError):  # of attempt_key
            keys = await _asked(strategy, Task(7, attempt=LAST_ATTEMPT + 1))
        assert keys <= {7}

    in_virtual_time(main())


async def _asked(plugin: Plugin, task: Task) -> set[int]:
    """The keys of rows that a strategy asks for, whatever it does with a task."""
    spied = Spied()
    strategy: Strategy = strategy_class(plugin.name)(spied, "w", Clock(0.0), **plugin.options)
    for state in (State.DONE, State.RETRY):
        [claim] = await strategy.admit([task])
        if isinstance(claim, Claim):
            await strategy.renew([claim])
            await strategy.commit([claim], [Outcome(task.index, task.attempt, state)])
            await strategy.release([claim])
        await strategy.recall([task.index], range(task.attempt, task.attempt + 1))
    return spied.keys
