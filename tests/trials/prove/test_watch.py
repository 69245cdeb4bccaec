"""The watch itself: what it takes for a break, and what it does not."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

from kon.backends.sim.ledger import SimLedger
from kon.backends.sim.loop import SimLoop, simulate
from kon.backends.sim.network import Network
from kon.core.clock import Clock
from kon.core.kind import Attempt
from kon.core.strategy import Claim, Skip, Verdict
from kon.core.task import Outcome, State, Task
from kon.strategies.lease import Lease
from kon.trials.prove.scenario import Invariant
from kon.trials.prove.watch import Watch, WatchedKind, WatchedStrategy

TASK = Task(7)


class Scripted(Lease):
    """Lets every claim run until 30 s on its clock, and answers a commit as told."""

    stands: bool = True
    admits_in_s: float = 0.0

    async def admit(self, tasks: Sequence[Task]) -> list[Verdict]:
        await asyncio.sleep(self.admits_in_s)
        return [Claim(task, self.new_token(), 30.0) for task in tasks]

    async def renew(self, claims: Sequence[Claim]) -> list[Claim | None]:
        if not self.stands:
            return [None for _ in claims]
        return [Claim(claim.task, f"{claim.token}~", 60.0) for claim in claims]

    async def commit(self, claims: Sequence[Claim], outcomes: Sequence[Outcome]) -> list[Outcome | None]:
        return [outcome if self.stands else None for outcome in outcomes]

    async def release(self, claims: Sequence[Claim]) -> None:
        return


class Bench:
    """Hosts under one watch."""

    def __init__(self) -> None:
        self.loop = SimLoop(limit_s=1_000.0)
        self.watch = Watch()
        self._ledger = SimLedger("ledger", Network())

    def host(self, name: str, offset_s: float = 0.0) -> tuple[WatchedStrategy, Scripted]:
        inner = Scripted(self._ledger, name, Clock(offset_s))
        self.watch.clock_of(name, offset_s)
        return WatchedStrategy(inner, self.watch, name), inner

    async def start(self, host: str) -> None:
        """Start the task there, and leave it running."""
        kind = WatchedKind({"watch": self.watch})

        async def execute() -> None:
            await kind.execute((0.0, 0, 0), Attempt("run", 7, 1))

        await self.loop.spawn(host, execute())

    def run(self, main: Coroutine[Any, Any, None]) -> set[Invariant]:
        simulate(main, self.loop)
        return {each.invariant for each in self.watch.breaks}


async def claim(strategy: WatchedStrategy) -> Claim:
    (verdict,) = await strategy.admit([TASK])
    assert isinstance(verdict, Claim)
    return verdict


def _second_start_at(at_s: float, offset_s: float = 0.0, renewed: bool = False) -> bool:
    """Whether a second start at that time is one while the first host's claim is in force."""
    bench = Bench()

    async def main() -> None:
        first, _ = bench.host("a", offset_s)
        second, _ = bench.host("b")
        mine = await claim(first)
        await bench.start("a")
        if renewed:
            await first.renew([mine])
        await asyncio.sleep(at_s)
        await claim(second)
        await bench.start("b")

    return Invariant.ONE_START_WHILE_HELD in bench.run(main())


def test_a_claim_is_in_force_until_it_runs_out_on_its_holders_clock() -> None:
    assert _second_start_at(29.0)
    assert not _second_start_at(31.0)
    # a clock that is ahead reads 30 s early
    assert _second_start_at(24.0, offset_s=5.0)
    assert not _second_start_at(26.0, offset_s=5.0)
    assert _second_start_at(34.0, offset_s=-5.0)


def test_a_renewed_claim_is_in_force_for_longer() -> None:
    assert _second_start_at(59.0, renewed=True)
    assert not _second_start_at(61.0, renewed=True)
    assert not _second_start_at(56.0, offset_s=5.0, renewed=True)


def _start_after(what: str) -> set[Invariant]:
    """What breaks when another starts the task after the first holder did this."""
    bench = Bench()

    async def main() -> None:
        first, script = bench.host("a")
        second, _ = bench.host("b")
        mine = await claim(first)
        if what != "nothing, and never started":
            await bench.start("a")
        if what == "lost it":
            script.stands = False
            assert await first.renew([mine]) == [None]
        elif what == "was refused":
            script.stands = False
            assert await first.commit([mine], [Outcome(7, 1, State.DONE)]) == [None]
        elif what == "gave it back":
            await first.release([mine])
        elif what == "is to try again":
            await first.commit([mine], [Outcome(7, 1, State.RETRY)])
        elif what == "committed":
            await first.commit([mine], [Outcome(7, 1, State.DONE)])
        await claim(second)
        await bench.start("b")

    return bench.run(main()) - {Invariant.ONE_START}


def test_a_claim_that_is_lost_refused_or_given_back_is_in_force_no_more() -> None:
    for what in ("lost it", "was refused", "gave it back", "is to try again"):
        assert _start_after(what) == set(), what


def test_a_claim_that_is_being_worked_on_or_was_committed_is() -> None:
    for what in ("nothing", "committed"):
        assert _start_after(what) == {Invariant.ONE_START_WHILE_HELD}, what


def test_a_claim_whose_task_never_started_is_no_first_start() -> None:
    assert _start_after("nothing, and never started") == set()


def test_two_starts_of_an_attempt_are_counted_on_one_host_as_well() -> None:
    bench = Bench()

    async def main() -> None:
        await bench.start("a")
        await bench.start("a")

    assert bench.run(main()) == {Invariant.ONE_START}


def test_a_commit_after_a_takeover_is_a_break_where_it_stands() -> None:
    for stands, broken in ((True, {Invariant.FENCED}), (False, set())):
        bench = Bench()

        async def main(bench: Bench = bench, stands: bool = stands) -> None:
            first, script = bench.host("a")
            second, _ = bench.host("b")
            mine = await claim(first)
            await claim(second)
            script.stands = stands
            await first.commit([mine], [Outcome(7, 1, State.DONE)])

        assert bench.run(main()) == broken


def test_a_host_that_learns_late_of_its_claim_has_taken_over_nothing() -> None:
    bench = Bench()

    async def main() -> None:
        late, script = bench.host("a")
        script.admits_in_s = 1.0
        second, _ = bench.host("b")
        asked = asyncio.create_task(claim(late))
        theirs = await claim(second)
        await asked
        await second.commit([theirs], [Outcome(7, 1, State.DONE)])

    assert bench.run(main()) == set()


class Repeating(Lease):
    """Has an outcome for every task."""

    result: str = "first"

    async def admit(self, tasks: Sequence[Task]) -> list[Verdict]:
        return [Skip(Outcome(task.index, 1, State.DONE, self.result)) for task in tasks]


def test_two_results_of_one_task_are_a_break_and_one_told_twice_is_none() -> None:
    for results, broken in ((("first", "first"), set()), (("first", "other"), {Invariant.ONE_RESULT})):
        bench = Bench()

        async def main(bench: Bench = bench, results: tuple[str, str] = results) -> None:
            inner = Repeating(SimLedger("ledger", Network()), "a", Clock(0.0))
            strategy = WatchedStrategy(inner, bench.watch, "a")
            for result in results:
                inner.result = result
                await strategy.admit([TASK])

        assert bench.run(main()) == broken


class Alike(Lease):
    """Gives every copy of a task the same claim, as `none` does."""

    async def admit(self, tasks: Sequence[Task]) -> list[Verdict]:
        return [Claim(task) for task in tasks]

    async def commit(self, claims: Sequence[Claim], outcomes: Sequence[Outcome]) -> list[Outcome | None]:
        return list(outcomes)


def test_two_copies_of_a_task_at_one_worker_are_two_claims_though_they_look_alike() -> None:
    """One of them is given back, unstarted, and the other is committed: in force for good."""
    bench = Bench()

    async def main() -> None:
        inner = Alike(SimLedger("ledger", Network()), "a", Clock(0.0))
        strategy = WatchedStrategy(inner, bench.watch, "a")
        other, _ = bench.host("b")
        first, second = await claim(strategy), await claim(strategy)
        await bench.start("a")
        await strategy.release([second])
        await strategy.commit([first], [Outcome(7, 1, State.DONE)])
        await claim(other)
        await bench.start("b")

    assert Invariant.ONE_START_WHILE_HELD in bench.run(main())


class Refusing(Repeating):
    """Refuses the outcome that it then answers with, or another."""

    async def commit(self, claims: Sequence[Claim], outcomes: Sequence[Outcome]) -> list[Outcome | None]:
        return [None for _ in outcomes]


def test_an_outcome_that_was_refused_and_stands_all_the_same_is_a_break() -> None:
    for stands, broken in (("mine", {Invariant.TRUE_COUNTS}), ("theirs", set())):
        bench = Bench()

        async def main(bench: Bench = bench, stands: str = stands) -> None:
            inner = Refusing(SimLedger("ledger", Network()), "a", Clock(0.0))
            strategy = WatchedStrategy(inner, bench.watch, "a")
            bench.watch.granted("a", Claim(TASK, "token"), bench.watch.asked("a", [TASK]))
            strategy._held[TASK.index, "token"] = [*bench.watch._claims[TASK.index]]
            await strategy.commit([Claim(TASK, "token")], [Outcome(7, 1, State.DONE, "mine")])
            inner.result = stands
            await strategy.admit([TASK])

        assert bench.run(main()) == broken
