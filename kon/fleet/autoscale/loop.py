"""Look, decide, act, and again (`kon autoscale`)."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec

from kon.backends.prices import Prices
from kon.core.errors import BackendRefused, BackendUnavailable, ConfigurationError, WorkersFailed, counted
from kon.fleet.autoscale.demand import Left
from kon.fleet.autoscale.equipment import Equipment, FleetBucket, Links, Memory, Taken, user_data
from kon.fleet.autoscale.hosts import Ec2Hosts, FleetHost, LaunchTemplate
from kon.fleet.autoscale.policy import Decision, Observation, Policy, decide
from kon.fleet.clients import in_kons_words

MOST_BROKEN: Final = 3
"""Hosts in a row that never worked; then no more are made, as each costs money and comes to nothing."""

READY: Final = "ready"


class Look(msgspec.Struct, frozen=True):
    """One look, and what was done.

    at_s: seconds since the epoch. hosts: without those that drain; booting: of them, those that have not said
    that they work. made, drained, ended: ids of hosts. notes: what went wrong.
    """

    at_s: float
    hosts: int
    booting: int
    draining: int
    messages: int
    in_flight: int
    work_s: float
    wanted: int
    change: int
    why: str
    spent_usd: float
    spent: bool = False
    made: list[str] = []
    drained: list[str] = []
    ended: list[str] = []
    notes: list[str] = []


class Autoscaler:
    """Keeps `hosts`, those of one fleet.

    left: says what is left of each run. dry_run: decides, and does nothing. now_s: seconds since the epoch.
    """

    def __init__(
        self,
        policy: Policy,
        prices: Prices,
        hosts: Ec2Hosts,
        bucket: FleetBucket,
        left: Callable[[], Awaitable[Sequence[Left]]],
        now_s: Callable[[], float],
        dry_run: bool = False,
    ) -> None:
        self._fleet = hosts.fleet
        self._policy = policy
        self._prices = prices
        self._hosts = hosts
        self._bucket = bucket
        self._left = left
        self._now_s = now_s
        self._dry_run = dry_run
        self._template: LaunchTemplate | None = None
        self._memory = Memory()
        self._marks: dict[str, str] = {}
        self._has_bucket = False

    async def begin(self) -> None:
        """Raises ConfigurationError where the fleet can't be scaled."""
        await asyncio.to_thread(self._begin)

    @in_kons_words
    def _begin(self) -> None:
        self._template = template = self._hosts.template(self._prices)
        self._check_time(template)
        if self._policy.max_cost is not None and template.hour_usd is None:
            raise ConfigurationError(
                f"max_cost: there is no price for {' or '.join(template.types)}, so that nobody could "
                "keep to it; add it to a file of prices, and name that: --prices"
            )
        self._has_bucket = self._bucket.is_there()
        if self._has_bucket:
            self._memory = self._bucket.remember()

    async def look(self) -> Look:
        """Once. Where Amazon does not answer, or refuses, hosts are left as they are, and a note says so.

        Raises ConfigurationError where another `kon autoscale` is at work on the fleet or its time has
        passed, WorkersFailed when hosts don't come up.
        """
        try:
            left = await self._left()
            return await asyncio.to_thread(self._act, left)
        except (BackendUnavailable, BackendRefused) as error:
            return self._blind(str(error))

    def _blind(self, trouble: str) -> Look:
        note = f"{trouble}; the fleet is left as it is, and looked at again in {self._policy.look_s:g} s"
        return Look(self._now_s(), 0, 0, 0, 0, 0, 0.0, 0, 0, "not known", 0.0, notes=[note])

    @in_kons_words
    def _act(self, left: Sequence[Left]) -> Look:
        assert self._template is not None
        self._check_time(self._template)
        now_s, notes = self._now_s(), list[str]()
        hosts = self._hosts.list()
        if not self._has_bucket and self._bucket.is_there():
            self._has_bucket, self._memory = True, self._bucket.remember()
        if self._has_bucket:
            fresh = self._bucket.marks(list(self._marks))
            self._marks.update(fresh)
            if READY in fresh.values():
                self._memory = msgspec.structs.replace(self._memory, broken=0)
        ended = self._without_broken(hosts, now_s, notes)
        hosts = [each for each in hosts if each not in ended]
        draining = [each for each in hosts if each.drain_s is not None]
        serving = [each for each in hosts if each.drain_s is None]
        seen = Observation(
            now_s=now_s,
            hosts=len(serving),
            draining=len(draining),
            host_s=sum(max(0.0, now_s - each.launched_s) for each in hosts),
            messages=sum(each.messages for each in left),
            in_flight=sum(each.in_flight for each in left),
            work_s=sum(each.work_s for each in left),
            submitted={each.run: each.submitted for each in left},
        )
        decision, state = decide(self._policy, self._memory.policy, seen, self._template.hour_usd)
        numbers = range(self._memory.number + 1, self._memory.number + 1 + max(0, decision.change))
        self._memory = msgspec.structs.replace(
            self._memory, policy=state, number=self._memory.number + len(numbers)
        )
        made, drained = list[str](), list[str]()
        if not self._dry_run:
            self._keep()
            made = self._make(numbers, self._template, notes) if numbers else []
            going = _to_go(serving, -decision.change, self._marks)
            self._hosts.drain(going, now_s)
            drained = [each.id for each in going]
        return _look(seen, decision, state.spent_usd, self._booting(serving), made, drained, ended, notes)

    # --- hosts that come --------------------------------------------------------------------------------

    def _make(self, numbers: Sequence[int], template: LaunchTemplate, notes: list[str]) -> list[str]:
        equipment = self._bucket.equipment() if self._has_bucket else None
        if equipment is None:
            raise ConfigurationError(
                f"hosts of the fleet {self._fleet} would not know what to install, as its bucket has no "
                "equipment. Call playbooks/provision.yml with an experiment, then playbooks/configure.yml -e "
                f"run={self._fleet}, which puts it there; no host was made"
            )
        made: list[str] = []
        for number in numbers:
            try:
                made.append(self._make_one(number, equipment, template))
            except BackendRefused as error:
                left = counted(len(numbers) - len(made), "host")
                notes.append(f"{error}; {left} not made now, and tried again")
                break
        return made

    @in_kons_words
    def _make_one(self, number: int, equipment: Equipment, template: LaunchTemplate) -> str:
        mark = f"{number}-{math.floor(self._now_s())}"
        good_s = self._policy.configure_s
        links = Links(
            self._bucket.link(equipment.bundle, good_s),
            self._bucket.link(equipment.payload, good_s) if equipment.payload else "",
            self._bucket.mark_link(mark, good_s),
        )
        script = user_data(template.user_data, self._fleet, number, equipment, links)
        return self._hosts.launch(number, mark, script, template)

    # --- hosts that go ----------------------------------------------------------------------------------

    def _without_broken(self, hosts: Sequence[FleetHost], now_s: float, notes: list[str]) -> list[FleetHost]:
        """End those that never came to work, and those that do not end by themselves."""
        broken, others = [], []
        ends = "would be terminated" if self._dry_run else "terminated"
        for host in hosts:
            said = self._marks.get(host.mark or "")
            failed = None if said == READY else said
            if host.drain_s is not None:
                if failed is not None:
                    # no worker runs there; the drain may be why it failed, so it doesn't count as broken
                    others.append(host)
                    notes.append(f"{host.id} never came to work, so nothing drains: {failed}: {ends}")
                elif now_s - host.drain_s > self._policy.drain_s:
                    others.append(host)
                    notes.append(f"{host.id} did not drain within {self._policy.drain_s:g} s: {ends}")
                continue
            if host.mark is None or said == READY:
                continue
            if failed is not None or now_s - host.launched_s > self._policy.configure_s:
                broken.append(host)
                why = failed or f"it said nothing within {self._policy.configure_s:g} s"
                notes.append(f"{host.id} is broken: {why}: {ends}")
        if self._dry_run:
            return []
        count = self._memory.broken + len(broken)
        self._memory = msgspec.structs.replace(self._memory, broken=count)
        self._hosts.terminate([*broken, *others])
        if count >= MOST_BROKEN:
            self._memory = msgspec.structs.replace(self._memory, broken=0)
            self._keep()
            raise WorkersFailed(
                f"{counted(count, 'host')} in a row never came to work, and no more are made. "
                + "; ".join(notes[-3:])
            )
        return [*broken, *others]

    def _booting(self, hosts: Sequence[FleetHost]) -> int:
        return sum(host.mark is not None and host.mark not in self._marks for host in hosts)

    # --- all --------------------------------------------------------------------------------------------

    def _keep(self) -> None:
        if not self._has_bucket:
            return
        try:
            self._bucket.keep(self._memory)
        except Taken as error:
            raise ConfigurationError(
                f"another `kon autoscale` is at work on the fleet {self._fleet}: this one ends, and has done "
                "nothing in this look"
            ) from error

    def _check_time(self, template: LaunchTemplate) -> None:
        if self._now_s() >= template.expires_s:
            raise ConfigurationError(
                f"the fleet's time (ExpiresAt {template.tags['ExpiresAt']}) has passed: its hosts end "
                "themselves, and new ones would at once. `teardown` it, or make it again"
            )


def _to_go(hosts: Sequence[FleetHost], count: int, marks: dict[str, str]) -> list[FleetHost]:
    """Hosts that do not work yet come first, then the youngest. No task is lost when a host drains."""

    def works(host: FleetHost) -> bool:
        return host.mark is None or marks.get(host.mark) == READY

    by_age = sorted(hosts, key=lambda each: (works(each), -each.launched_s))
    return by_age[: max(0, count)]


def _look(
    seen: Observation,
    decision: Decision,
    spent_usd: float,
    booting: int,
    made: list[str],
    drained: list[str],
    ended: Sequence[FleetHost],
    notes: list[str],
) -> Look:
    return Look(
        at_s=seen.now_s,
        hosts=seen.hosts,
        booting=booting,
        draining=seen.draining,
        messages=seen.messages,
        in_flight=seen.in_flight,
        work_s=seen.work_s,
        wanted=decision.wanted,
        change=decision.change,
        why=decision.why,
        spent_usd=spent_usd,
        spent=decision.spent,
        made=made,
        drained=drained,
        ended=[each.id for each in ended],
        notes=notes,
    )
