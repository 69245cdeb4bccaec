"""Patience: how long a call is repeated, with what pauses, and what is then told."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from kon.core.errors import BackendDenied, BackendUnavailable, KonError
from kon.core.objects import ObjectStore
from kon.engine.patience import DENIED_PAUSE_S, FIRST_PAUSE_S, LONGEST_PAUSE_S, Patience, PatientObjects
from tests.engine.world import in_virtual_time


class Most(random.Random):
    """Draws the longest pause there is."""

    def uniform(self, a: float, b: float) -> float:
        assert (a, b) == (0.5, 1.0)
        return b


class Calls:
    """Fails as it is told to, one call after another, then answers 7. at_s: when it was called."""

    def __init__(self, *errors: BaseException, then_for_ever: KonError | None = None) -> None:
        self._errors = list(errors)
        self._for_ever = then_for_ever
        self.at_s: list[float] = []

    async def __call__(self) -> int:
        self.at_s.append(asyncio.get_running_loop().time())
        if self._errors:
            raise self._errors.pop(0)
        if self._for_ever is not None:
            raise self._for_ever
        return 7


AWAY, MAY_NOT = BackendUnavailable("away"), BackendDenied("may not")


def patience(outage_s: float, denied_s: float = 0.0) -> tuple[Patience, list[tuple[str, float]]]:
    told: list[tuple[str, float]] = []
    made = Patience(outage_s, Most(), lambda error, pause_s: told.append((str(error), pause_s)), denied_s)
    return made, told


@pytest.mark.parametrize("first", [[], [AWAY]])
def test_a_call_that_is_cancelled_from_within_is_an_error(first: list[BaseException]) -> None:
    """A client took a batch that was never sent for one that was, and ended with tasks left."""

    async def main() -> None:
        made, _ = patience(1_000.0)
        with pytest.raises(RuntimeError, match=r"queue\.send of the backend was cancelled from within"):
            await made.call("queue.send", 1, Calls(*first, asyncio.CancelledError()))

    in_virtual_time(main())


def test_a_call_whose_task_is_cancelled_is_cancelled() -> None:
    async def main() -> None:
        made, _ = patience(1_000.0)
        task = asyncio.create_task(made.call("queue.receive", 1, lambda: asyncio.sleep(1_000.0)))
        await asyncio.sleep(1.0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    in_virtual_time(main())


def test_a_call_is_repeated_with_pauses_that_double_up_to_the_longest() -> None:
    async def main() -> None:
        made, told = patience(1_000.0)
        calls = Calls(*[AWAY] * 10)
        assert await made.call("x", 1, calls) == 7
        pauses = [min(FIRST_PAUSE_S * 2**n, LONGEST_PAUSE_S) for n in range(10)]
        assert pauses[-2:] == [LONGEST_PAUSE_S] * 2
        assert [error for error, _ in told] == ["away"] * 10
        assert [pause_s for _, pause_s in told] == pytest.approx(pauses)
        assert calls.at_s == pytest.approx([sum(pauses[:n]) for n in range(11)])

    in_virtual_time(main())


@pytest.mark.parametrize(("outage_s", "tries"), [(0.05, 1), (0.1, 2), (0.29, 2), (0.31, 3), (25.0, 9)])
def test_an_outage_that_lasts_too_long_is_let_through_before_another_pause_would_pass_its_end(
    outage_s: float, tries: int
) -> None:
    async def main() -> None:
        made, told = patience(outage_s)
        calls = Calls(then_for_ever=AWAY)
        with pytest.raises(BackendUnavailable, match="away"):
            await made.call("x", 1, calls)
        assert len(calls.at_s) == tries
        assert len(told) == tries - 1

    in_virtual_time(main())


def test_a_denial_has_a_time_of_its_own_and_short_pauses() -> None:
    async def main() -> None:
        made, told = patience(outage_s=1_000.0, denied_s=5.0)
        calls = Calls(then_for_ever=MAY_NOT)
        with pytest.raises(BackendDenied):
            await made.call("x", 1, calls)
        assert max(pause_s for _, pause_s in told) == DENIED_PAUSE_S
        assert 4.0 < calls.at_s[-1] <= 5.0

    in_virtual_time(main())


def test_the_time_of_a_denial_counts_from_the_first_of_them() -> None:
    async def main() -> None:
        made, _ = patience(outage_s=1_000.0, denied_s=5.0)
        calls = Calls(*[AWAY] * 7, then_for_ever=MAY_NOT)
        with pytest.raises(BackendDenied):
            await made.call("x", 1, calls)
        first_s = calls.at_s[7]
        assert first_s > 5.0
        assert first_s + 4.0 < calls.at_s[-1] <= first_s + 5.0

    in_virtual_time(main())


def test_where_denials_alone_are_waited_for_an_outage_is_let_through() -> None:
    async def main() -> None:
        made, told = patience(outage_s=1_000.0, denied_s=5.0)
        assert await made.while_denied(Calls(MAY_NOT, MAY_NOT)) == 7
        assert [error for error, _ in told] == ["may not"] * 2
        for calls in (Calls(AWAY), Calls(MAY_NOT, AWAY)):
            with pytest.raises(BackendUnavailable):
                await made.while_denied(calls)

    in_virtual_time(main())


def test_calls_that_went_well_at_once_and_brought_something_are_timed() -> None:
    async def main() -> None:
        made, _ = patience(1_000.0)

        async def answer(reply: Sequence[int], took_s: float) -> Sequence[int]:
            await asyncio.sleep(took_s)
            return reply

        await made.call("queue.receive", 10, lambda: answer([1], 0.5))
        await made.call("queue.receive", 4, lambda: answer([1], 1.5))
        await made.call("queue.receive", 10, lambda: answer([], 20.0))
        await made.call("queue.ack", 1, Calls(AWAY))
        [(call, sums)] = made.timings.sums().items()
        assert call == "queue.receive"
        wanted = {"calls": 2, "items": 14, "items2": 116, "sum_s": 2.0, "item_s": 11.0, "max_s": 1.5}
        assert {name: sums[name] for name in wanted} == pytest.approx(wanted)

    in_virtual_time(main())


class Store(ObjectStore):
    """Denies its first call, then answers with what it was asked for."""

    def __init__(self) -> None:
        self._denied = False
        self.asked: list[tuple[object, ...]] = []

    def _ask(self, *words: object) -> None:
        if not self._denied:
            self._denied = True
            raise MAY_NOT
        self.asked.append(words)

    async def put(self, key: str, file: Path) -> None:
        self._ask("put", key, file)

    async def get(self, key: str, file: Path) -> None:
        self._ask("get", key, file)

    async def size_bytes(self, key: str) -> int:
        self._ask("size_bytes", key)
        return 7

    async def url(self, key: str, expires_s: float) -> str:
        self._ask("url", key, expires_s)
        return "u"

    async def signed(self, key: str, expires_s: float) -> tuple[str, float | None]:
        self._ask("signed", key, expires_s)
        return "u", 9.0


@pytest.mark.parametrize(
    ("call", "words", "answer"),
    [
        ("put", ("k", Path("f")), None),
        ("get", ("k", Path("f")), None),
        ("size_bytes", ("k",), 7),
        ("url", ("k", 3.0), "u"),
        ("signed", ("k", 3.0), ("u", 9.0)),
    ],
)
def test_each_call_of_a_store_is_repeated_while_it_is_denied(
    call: str, words: tuple[object, ...], answer: object
) -> None:
    async def main() -> None:
        store, (made, told) = Store(), patience(1_000.0, denied_s=5.0)
        assert await getattr(PatientObjects(store, made), call)(*words) == answer
        assert store.asked == [(call, *words)]
        assert [error for error, _ in told] == ["may not"]

    in_virtual_time(main())
