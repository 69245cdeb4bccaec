"""A verb of a fleet that another terminal overtakes, or that is killed: nothing doubled, nothing left."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from botocore.client import BaseClient

from kon.backends.prices import usual_prices
from kon.core.errors import BackendRefused
from kon.fleet.build import build, end_hosts
from kon.fleet.sweep import remove
from kon.fleet.thing import Filter
from tests.fleet.build.conftest import ALL, PRIVATE, Maker, changing, left
from tests.fleet.conftest import Account

# --- two terminals at once ------------------------------------------------------------------------------


def _overtaken(work: Maker, monkeypatch: pytest.MonkeyPatch, number: int) -> bool:
    """Whether the call of this number, of those that change something, was overtaken by a second build."""
    original, count, busy = BaseClient._make_api_call, 0, False

    def asked(self: Any, operation: str, given: dict[str, Any]) -> Any:
        nonlocal count, busy
        if changing(operation) and not busy:
            count += 1
            if count == number and operation != "RunInstances":  # whose token moto does not go by
                busy = True
                build(work(), usual_prices(), PRIVATE)
                busy = False
        return original(self, operation, given)

    with monkeypatch.context() as patch:
        patch.setattr(BaseClient, "_make_api_call", asked)
        # the first one is told that it was made meanwhile, and goes on when it is called again
        with contextlib.suppress(BackendRefused):
            build(work(), usual_prices(), PRIVATE)
    return count >= number


def _check_overtaken(work: Maker, account: Account, monkeypatch: pytest.MonkeyPatch, numbers: range) -> None:
    for number in numbers:
        if not _overtaken(work, monkeypatch, number):
            break
        again = work()
        build(again, usual_prices(), PRIVATE)
        assert again.changes == [], number
        hosts = [
            each
            for group in account.client("ec2").describe_instances()["Reservations"]
            for each in group["Instances"]
        ]
        assert len([each for each in hosts if each["State"]["Name"] == "running"]) == 2, number
        remove(Filter("r1"), usual_prices(), ["us-east-1"], sleep=lambda seconds: None)


@pytest.mark.timeout(300)
def test_a_second_terminal_at_once_doubles_nothing(
    work: Maker, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    _check_overtaken(work, account, monkeypatch, range(1, 9, 4))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_second_terminal_at_any_call_doubles_nothing(
    work: Maker, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    _check_overtaken(work, account, monkeypatch, range(1, 50))


# --- killed in the midst --------------------------------------------------------------------------------


class Killed(BaseException):
    """The end of the process, as far as code can see it."""


def killed_at(monkeypatch: pytest.MonkeyPatch, number: int, after: bool) -> Callable[[], int]:
    """End at the call of this number, before or after its effect; how many calls there were.

    Whoever ends makes no other call, in no thread.
    """
    original, count = BaseClient._make_api_call, 0

    def asked(self: Any, operation: str, given: dict[str, Any]) -> Any:
        nonlocal count
        count += 1
        if count > number or (count == number and not after):
            raise Killed
        reply = original(self, operation, given)
        if count == number:
            raise Killed
        return reply

    monkeypatch.setattr(BaseClient, "_make_api_call", asked)
    return lambda: count


def _search(
    work: Maker,
    monkeypatch: pytest.MonkeyPatch,
    numbers: Iterable[int],
    act: Callable[[], Any],
    before: Callable[[], Any] = lambda: None,
) -> int:
    """Kill `act` at each of these calls, from 1; one teardown later nothing is left. How many were killed."""
    killed = 0
    for number in numbers:
        before()
        with monkeypatch.context() as patch:
            calls = killed_at(patch, number, after=number % 2 == 0)
            try:
                act()
            except Killed:
                killed += 1
            over = calls() < number
        assert remove(Filter("r1"), usual_prices(), ["us-east-1"], sleep=lambda s: None).things == []
        assert left() == [], number
        if over:
            break
    return killed


ALARMED = {"alarm_mail": "me@example.org", "dead_queues": ["konf-r1-a-dead"]}


def _provision(work: Maker) -> tuple[Callable[[], Any], Callable[[], Any]]:
    return lambda: build(work(**ALL), usual_prices(), PRIVATE), lambda: None


def _scale(work: Maker) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """One host goes and two come, as hosts that are ended are replaced by others."""
    made: list[str] = []

    def before() -> None:
        made[:] = build(work(hosts=2, **ALARMED), usual_prices(), PRIVATE)[1]

    def act() -> None:
        job = work(hosts=3, **ALARMED)
        end_hosts(job.aws, "r1", made[:1], job)
        build(job, usual_prices(), PRIVATE)

    return act, before


def _teardown(work: Maker) -> tuple[Callable[[], Any], Callable[[], Any]]:
    def act() -> None:
        remove(Filter("r1"), usual_prices(), ["us-east-1"], sleep=lambda seconds: None)

    return act, lambda: build(work(**ALL), usual_prices(), PRIVATE)


Verb = Callable[[Maker], tuple[Callable[[], Any], Callable[[], Any]]]
VERBS: list[tuple[Verb, range, int]] = [
    (_provision, range(9, 70, 30), 20),
    (_scale, range(4, 40, 20), 15),
    (_teardown, range(8, 60, 37), 40),
]
"""What is killed, at which of its calls in `make check`, and how many it has at least."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("verb", "some", "least"),
    [pytest.param(*each, marks=[] if each[0] is _teardown else [pytest.mark.long]) for each in VERBS],
)
def test_a_verb_killed_at_some_of_its_calls_leaves_nothing_after_one_teardown(
    work: Maker, monkeypatch: pytest.MonkeyPatch, verb: Verb, some: range, least: int
) -> None:
    act, before = verb(work)
    assert _search(work, monkeypatch, some, act, before) >= 2


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("after", [0, 1])
@pytest.mark.parametrize(("verb", "some", "least"), VERBS)
def test_a_verb_killed_at_every_call_leaves_nothing_after_one_teardown(
    work: Maker, monkeypatch: pytest.MonkeyPatch, verb: Verb, some: range, least: int, after: int
) -> None:
    """after: at the odd calls before their effect, at the even ones after it."""
    act, before = verb(work)
    killed = _search(work, monkeypatch, range(1 + after, 500, 2), act, before)
    assert killed >= least // 2
