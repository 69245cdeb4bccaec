from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from kon.backends.sim.loop import SimLoop, simulate
from kon.core.errors import ConfigurationError
from kon.kinds.sleep import Sleep
from tests.kinds.running import attempt, execute


@pytest.mark.parametrize("body", [0, 0.0, 1, 2.5, 10**300], ids=lambda body: f"{body!r:.20}")
def test_seconds_are_accepted(body: Any) -> None:
    Sleep({}).check(body)


@pytest.mark.parametrize(
    "body",
    [-1, -0.001, math.nan, math.inf, -math.inf, 10**400, "1", None, True, [1], {"seconds": 1}],
    ids=lambda body: f"{body!r:.20}",
)
def test_what_is_no_duration_is_refused(body: Any) -> None:
    with pytest.raises(ConfigurationError, match="seconds to sleep"):
        Sleep({}).check(body)


def test_it_sleeps_as_long_as_it_says() -> None:
    kind = Sleep({})

    async def main() -> float:
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        assert await kind.execute(2.5, attempt()) is None
        return loop.time() - started_s

    assert simulate(main(), SimLoop()) == 2.5
    assert kind.duration_s(2.5) == 2.5


def test_a_batch_of_zeros_is_done_at_once() -> None:
    kind = Sleep({})
    assert kind.execute_now([0, 0.0, 0]) == [None, None, None]
    assert kind.execute_now([]) == []
    assert kind.execute_now([0, 0.1]) is None
    assert execute(kind, 0) is None


def test_it_takes_no_options() -> None:
    with pytest.raises(ConfigurationError, match='unknown option "seconds" of kind sleep'):
        Sleep({"seconds": 1})
