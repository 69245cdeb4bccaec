"""Accounts: what client and workers have recorded, held to what really happened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping, Sequence, Set
from typing import Final

import msgspec

from kon.backends.sim.faults import Faults
from kon.core.journal import MemoryJournal
from kon.core.task import Outcome, State, encode
from kon.engine.records.events import Event
from kon.engine.tally import Tally
from kon.trials.prove.scenario import Break, Invariant, Scenario
from kon.trials.prove.watch import Watch, gist

SPARE_RECEIVES: Final = 5
"""Receipts that are enough for a message that arrives again and again as its worker is told to stop."""

GRACEFUL: Final = frozenset(
    {"stop", "late", "cancel", "client_pause", "second_client", "receive_missed", "denied"}
)
"""Faults under which nothing goes wrong: whatever else fired, no task may end as anything but done."""

DENIED: Final = frozenset({"denied", "denied_for_good", "late"})
"""Faults that say nothing against a task."""

_START: Final = Event.START.encode()


class Accounts:
    """What is compared when a scenario is over."""

    def __init__(
        self, scenario: Scenario, faults: Faults, watch: Watch, journals: Mapping[str, MemoryJournal]
    ) -> None:
        self._scenario = scenario
        self._faults = faults
        self._watch = watch
        self._journals = journals
        self.all_told = False
        """Whether all workers were told to stop at once: what one gives back meets the next that ends."""

    def check_results(
        self,
        recorded: Sequence[Outcome],
        tally: Tally,
        expired: Container[int],
        away: Set[str],
        cancelled: bool,
    ) -> None:
        """What the client has recorded, compared with what really happened.

        expired: tasks whose message was kept for too long. away: hosts that were. cancelled: the run was.
        """
        watch = self._watch
        last: dict[int, State] = {}
        for outcome in recorded:
            index = outcome.index
            if last.get(index) in (State.DONE, State.FAILED):
                watch.broken(Invariant.TRUE_COUNTS, index, "the client records it a second time")
            last[index] = outcome.state
            if outcome.state is State.LOST and index not in expired:
                watch.broken(Invariant.NOTHING_LOST, index, "the client counts it as lost")
                if away.isdisjoint(watch.askers.get(index, ())):
                    how = "the client counts it as lost, and nobody who asked for it was away"
                    watch.broken(Invariant.LOST_BY_OUTAGE, index, how)
            elif outcome.state is State.DONE:
                result = encode(Outcome(index, 0, State.DONE, outcome.result))
                if result not in watch.ran.get(index, ()):
                    watch.broken(Invariant.TRUE_COUNTS, index, f"no execution came to {outcome.result!r}")
            if outcome.state in (State.DONE, State.FAILED) and gist(outcome) not in watch.stands.get(
                index, ()
            ):
                watch.broken(Invariant.TRUE_COUNTS, index, "the client records what no strategy let stand")
        self._check_graceful(last, cancelled)
        self._check_denied(last)
        states = Counter(last.values())
        if states != +Counter(tally.counts):
            how = f"the client counts {tally.counts}, and has recorded {dict(states)}"
            watch.broken(Invariant.TRUE_COUNTS, None, how)
        if sum(states.values()) != self._scenario.tasks:
            watch.broken(Invariant.TRUE_COUNTS, None, f"{sum(states.values())} tasks are recorded")

    def _check_graceful(self, last: dict[int, State], cancelled: bool) -> None:
        """Where nothing went wrong, every task is done, or cancelled before it was committed."""
        watch, fired = self._watch, {each.fault for each in self._faults.fired}
        if self._scenario.timeout_s is not None or fired - GRACEFUL:
            return
        for index, state in last.items():
            if state is State.DONE:
                continue
            if state is State.DEAD and self._scenario.max_receives < SPARE_RECEIVES:
                continue  # what arrives in the very moment of a stop is given back, and counts a receipt
            if state is not State.CANCELLED or not cancelled:
                how = f"it ends as {state}, and nothing went wrong"
                watch.broken(Invariant.LOST_BY_OUTAGE, index, how)
            elif watch.stands.get(index) and "client_pause" not in fired:
                how = "it is called cancelled, and its outcome was committed"
                watch.broken(Invariant.TRUE_COUNTS, index, how)

    def _check_denied(self, last: dict[int, State]) -> None:
        """Where nothing went wrong but that rights were missing, no task is dead or was tried in vain."""
        fired = {each.fault for each in self._faults.fired}
        if self._scenario.timeout_s is not None or not fired or fired - DENIED:
            return
        for index, state in last.items():
            if state is State.DEAD and self.all_told and self._scenario.max_receives < SPARE_RECEIVES:
                continue  # as under a graceful stop
            if state in (State.DEAD, State.FAILED):
                how = f"it ends as {state}, and a right was missing, nothing else"
                self._watch.broken(Invariant.TRUE_COUNTS, index, how)

    def check_counts(self, now_s: float) -> None:
        """The workers' own records of their starts, from which the tables are made."""
        recorded: Counter[int] = Counter()
        for journal in self._journals.values():
            for line in journal.lines:
                if _START not in line:  # few are, and to decode all takes long
                    continue
                event = msgspec.json.decode(line)
                if event["e"] == Event.START:
                    first, count = event.get("r", (0, 0))
                    recorded.update(event.get("i", range(first, first + count)))
        started: Counter[int] = Counter()
        for (index, _), count in self._watch.starts.items():
            started[index] += count
        if started != recorded:
            how = f"recorded are {sum(recorded.values())} starts, and {sum(started.values())} were made"
            self._watch.breaks.append(Break(Invariant.TRUE_COUNTS, now_s, None, how))
