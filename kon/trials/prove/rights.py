"""Rights that are missing for a while, or until somebody gives them: who may not do what, and when."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from kon.backends.sim.faults import Far, Faults
from kon.backends.sim.loop import SimLoop
from kon.backends.sim.network import Denial
from kon.engine.patience import DENIED_S
from kon.trials.prove.services import Services
from kon.trials.prove.watch import Watch

WORKERS: Final = "w"
CLIENTS: Final = "client"
"""What the names of those begin with who share a role."""

A_WHILE_S: Final = 0.8 * DENIED_S
"""How long a right is missing, at most, that was just given: less than a worker has patience for."""

MENDED_S: Final = 120.0
"""How long after the first worker ended for want of a right somebody gives it, at most: until then others are
started in vain."""

CLIENTS_SHARE: Final = 0.2
"""How often it is the client that is denied something."""

AT_ONCE: Final = 0.3
"""How often a right is missing from the beginning on."""


class Rights:
    """The rights of one schedule.

    end_run: ends the run as that host was denied something: as kon does, or at once, as who sees it may.
    """

    def __init__(
        self,
        loop: SimLoop,
        services: Services,
        faults: Faults,
        watch: Watch,
        end_run: Callable[[str, bool], None],
    ) -> None:
        self._loop = loop
        self._services = services
        self._faults = faults
        self._watch = watch
        self._end_run = end_run
        self._missing: Denial | None = None  # until somebody gives it
        self._mended_s = 0.0  # after which time
        self._ends_run = self._ends_at_once = False

    def may_miss(self, step: Callable[[Far], int]) -> None:
        """Have a right be missing from some step on, if this is such a schedule."""
        if (far := self._faults.fires("denied", "rights")) is not None:
            self._at(step(far), far, far.uniform(0.0, A_WHILE_S))
        if (far := self._faults.fires("denied_for_good", "rights")) is not None:
            drawn = far.random()
            self._ends_run, self._ends_at_once = drawn < 0.5, drawn < 0.25
            self._mended_s = far.uniform(0.0, MENDED_S)
            self._at(step(far), far, None)

    def ended_denied(self, host: str) -> None:
        """A host has ended as it was denied something. Whoever keeps it may end the whole run."""
        missing, self._missing = self._missing, None
        if missing is None:
            return
        if self._ends_run:
            at_once = self._ends_at_once and not host.startswith(CLIENTS)
            self._watch.note(host, f"was denied: the run ends{' at once' if at_once else ''}")
            self._end_run(host, at_once)
        self._loop.call_later(self._mended_s, self._mend, missing)

    def _at(self, step: int, far: Far, for_s: float | None) -> None:
        who = CLIENTS if far.random() < CLIENTS_SHARE else WORKERS
        rights = self._services.rights[who]
        right, at_once = rights[far.randrange(0, len(rights))], far.random() < AT_ONCE
        by_item = far.random() < 0.5

        def deny() -> None:
            until_s = float("inf") if for_s is None else self._loop.time() + for_s
            denial = Denial(who, right.service, right.calls, until_s, right.of, by_item)
            if for_s is None:
                self._missing = denial
            self._services.denials.append(denial)
            self._watch.note("operator", f"{who}* may not call {right.service}.{right.calls[0]} any more")

        self._loop.before_step(1 if at_once else step, deny)

    def _mend(self, missing: Denial) -> None:
        self._watch.note("operator", "gives the right")
        self._services.denials.remove(missing)
