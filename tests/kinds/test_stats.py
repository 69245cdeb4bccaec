from __future__ import annotations

import asyncio
import json
import statistics
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kon.core.errors import ConfigurationError
from kon.kinds import stats
from kon.kinds.stats import SLICE, Stats
from tests.kinds.running import execute, failure


def test_it_describes_a_list() -> None:
    assert execute(Stats({}), [3, 1, 2, 2]) == {"min": 1, "max": 3, "mean": 2, "median": 2, "sum": 8}
    assert execute(Stats({}), [1, 2]) == {"min": 1, "max": 2, "mean": 1.5, "median": 1.5, "sum": 3}
    assert execute(Stats({}), [-7]) == {"min": -7, "max": -7, "mean": -7, "median": -7, "sum": -7}


def test_large_integers_stay_exact() -> None:
    huge = 2**200
    assert execute(Stats({}), [huge, huge + 2]) == {
        "min": huge,
        "max": huge + 2,
        "mean": huge + 1,
        "median": huge + 1,
        "sum": 2 * huge + 2,
    }


def test_a_mean_beyond_floats_is_a_failed_attempt() -> None:
    body = [10**400, 10**400 + 1]
    assert Stats({}).execute_now([body]) is None
    assert "too large for a float" in str(failure(Stats({}), body))


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ([], "an empty list"),
        ([1, 2.0], "got 2.0 at place 1"),
        ([1, True], "got True at place 1"),
        ([None], "got None at place 0"),
        (["1"], "got '1' at place 0"),
        ("123", "got '123'"),
        (None, "got None"),
        ({"a": 1}, "got {'a': 1}"),
    ],
)
def test_what_is_no_list_of_integers_is_refused(body: Any, says: str) -> None:
    with pytest.raises(ConfigurationError, match="expected a list of integers") as raised:
        Stats({}).check(body)
    assert says in str(raised.value)
    assert Stats({}).execute_now([[1], body]) is None


_integers = st.lists(st.integers(min_value=-(2**70), max_value=2**70), min_size=1, max_size=60)


@given(st.lists(_integers, max_size=5))
@settings(deadline=None)
def test_a_batch_is_what_its_tasks_are_one_by_one(bodies: list[list[int]]) -> None:
    results = Stats({}).execute_now(bodies)
    assert results is not None
    assert len(results) == len(bodies)
    for body, result in zip(bodies, results):
        assert result == {
            "min": min(body),
            "max": max(body),
            "mean": _rounded(Fraction(sum(body), len(body))),
            "median": _rounded(statistics.median(map(Fraction, body))),
            "sum": sum(body),
        }
        assert json.loads(json.dumps(result)) == result


def _rounded(value: Fraction) -> int | float:
    return int(value) if value.denominator == 1 else float(value)


@given(_integers, st.integers(min_value=1, max_value=7))
@settings(max_examples=200, deadline=None)
def test_slices_make_no_difference(values: list[int], slice_length: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stats, "SLICE", slice_length)
        sliced = execute(Stats({}), values)
    assert [sliced] == Stats({}).execute_now([values])


def test_a_long_list_leaves_the_event_loop_to_others() -> None:
    kind = Stats({})
    values = list(range(12 * SLICE, 0, -1))
    assert kind.execute_now([values]) is None
    assert kind.execute_now([[1]] * (SLICE + 1)) is None

    async def main() -> tuple[Any, int]:
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        other = asyncio.create_task(others())
        result = await kind.execute(values, None)  # type: ignore[arg-type]
        other.cancel()
        return result, turns

    result, turns = asyncio.run(main())
    assert result["median"] == (12 * SLICE + 1) / 2
    assert turns > 12
