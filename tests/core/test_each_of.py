"""Work on several things: what goes wrong with one is collected, and the others are seen to."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from kon.core.errors import BackendUnavailable, ConfigurationError, Interrupted, KonError, each_of


def tried(errors: Mapping[int, BaseException]) -> tuple[list[int], list[KonError]]:
    """Of five things, those that were tried and what is told."""
    seen: list[int] = []

    async def work(thing: int) -> None:
        seen.append(thing)
        if thing in errors:
            raise errors[thing]

    return seen, asyncio.run(each_of(range(5), work, "run"))


def test_the_others_are_seen_to() -> None:
    wrong = {0: ConfigurationError("a"), 3: BackendUnavailable("b")}
    assert tried(wrong) == ([0, 1, 2, 3, 4], [wrong[0], wrong[3]])


def test_the_error_in_a_group_is_told() -> None:
    wrong = ConfigurationError("a")
    assert tried({1: ExceptionGroup("", [wrong])}) == ([0, 1, 2, 3, 4], [wrong])


def test_two_outages_in_a_row_end_it_as_each_was_waited_for() -> None:
    seen, failures = tried({1: BackendUnavailable("a"), 2: BackendUnavailable("b")})
    assert seen == [0, 1, 2]
    assert str(failures[-1]).startswith("not tried: 2 runs, as the backend did not answer twice in a row")
    assert tried({3: BackendUnavailable("a"), 4: BackendUnavailable("b")})[0] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("error", [Interrupted("Ctrl-C"), ZeroDivisionError(), KeyboardInterrupt()])
def test_what_ends_a_command_ends_it_at_once(error: BaseException) -> None:
    with pytest.raises(type(error)):
        tried({1: error})
