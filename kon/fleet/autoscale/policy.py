"""The policy: from what is seen to how many hosts come or go. It knows no clock, no Amazon and no simulator.

Up fast, down slowly: more hosts come with the first look that asks for them; hosts go once fewer would have
done for a while, a few at a time. Limits (`max_hosts`, `max_cost`) come before everything else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import msgspec

from kon.core.errors import counted
from kon.experiment.models import checked
from kon.experiment.yamltree import plain

_Seconds = Annotated[float, msgspec.Meta(ge=0)]
_AboveZero = Annotated[float, msgspec.Meta(gt=0)]
_Count = Annotated[int, msgspec.Meta(ge=1)]
_Whole = Annotated[int, msgspec.Meta(ge=0)]

SLACK: Final = 1.25
"""Hosts go only where fewer would do even for this many times the work, or two looks would not agree."""

USUAL_TASK_S: Final = 1.0
"""What a task is thought to take where neither its experiment nor the policy says."""

HOUR_S: Final = 3600.0


class ScaleRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Add `add` hosts when more than `arrived` tasks were queued within `within_s`; then not again for as
    long."""

    arrived: _Whole
    within_s: _AboveZero
    add: _Count = 1


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A policy file.

    target_s: what is queued is to be done within so long.
    task_s: what one task takes on one slot; None for what its experiment says, or a second.
    min_hosts, max_hosts: never fewer, never more.
    max_cost: the most that hosts may cost in all, in US dollars; None for no limit. Comes before min_hosts.
    up_most, down_most: hosts that come or go at one look. up_cooldown_s, down_cooldown_s: pauses after that.
    down_after_s: for so long fewer must have done before any go.
    configure_s: a host that does not work so long after its launch is broken.
    drain_s: a host may take so long to end what it does before it is terminated.
    look_s: between two looks.
    rules: by a name of their own.
    """

    max_hosts: _Count
    min_hosts: _Whole = 0
    target_s: _AboveZero = 600.0
    task_s: _AboveZero | None = None
    max_cost: _AboveZero | None = None
    up_most: _Count = 8
    up_cooldown_s: _Seconds = 60.0
    down_after_s: _Seconds = 300.0
    down_most: _Count = 4
    down_cooldown_s: _Seconds = 60.0
    configure_s: _AboveZero = 600.0
    drain_s: _AboveZero = 150.0
    look_s: _AboveZero = 30.0
    rules: dict[str, ScaleRule] = {}

    def __post_init__(self) -> None:
        if self.min_hosts > self.max_hosts:
            raise ValueError(f"min_hosts ({self.min_hosts}) is above max_hosts ({self.max_hosts})")


class Observation(msgspec.Struct, frozen=True):
    """What one look has seen.

    hosts: that work, or will once they have booted. draining: that are on their way out, and cost as much.
    host_s: how long all of them have been up, together.
    messages, in_flight: of all queues of tasks. work_s: what is left to do, in seconds of one host.
    submitted: tasks that were ever queued, by run.
    """

    now_s: float
    hosts: int
    draining: int = 0
    host_s: float = 0.0
    messages: int = 0
    in_flight: int = 0
    work_s: float = 0.0
    submitted: Mapping[str, int] = {}


class PolicyState(msgspec.Struct, frozen=True):
    """What the next look has to know of the ones before.

    arrivals: (when, how many) tasks were new, as far as the longest rule looks back.
    hosts: that were there at its end, those that drained and those that it added included.
    fired: when each rule last added hosts. fewer_since_s: since when fewer hosts would have done.
    spent_usd: on hosts, so far.
    """

    looked_s: float | None = None
    hosts: int = 0
    submitted: dict[str, int] = {}
    arrivals: list[tuple[float, int]] = []
    fired: dict[str, float] = {}
    up_s: float | None = None
    down_s: float | None = None
    fewer_since_s: float | None = None
    spent_usd: float = 0.0


class Decision(msgspec.Struct, frozen=True):
    """change: hosts to add, or, below 0, to drain. why: in words. spent: whether `max_cost` is used up."""

    wanted: int
    change: int
    why: str
    spent: bool = False


def work_s(messages: float, bundle: float, unsubmitted: int, task_s: float, lanes: int) -> float:
    """What is left of one run, in seconds of one host.

    bundle: tasks in a message, on average. lanes: tasks that a host runs at once.
    """
    return (messages * bundle + unsubmitted) * task_s / lanes


def decide(
    policy: Policy, state: PolicyState, seen: Observation, hour_usd: float | None = None
) -> tuple[Decision, PolicyState]:
    """The decision of one look, and what the next has to know. hour_usd: the price of a host, where known."""
    state = _with_arrivals(policy, _with_costs(state, seen, hour_usd), seen)
    wanted, why = _by_target(policy, seen)
    due = _due_rules(policy, state, seen.now_s)
    for name in due:
        more = seen.hosts + policy.rules[name].add
        if more > wanted:
            wanted, why = more, f"rule {name}: more than {policy.rules[name].arrived:,} tasks came"
    wanted, why = _within(policy, wanted, why)
    most = _affordable(policy, state, seen, hour_usd)
    if most < wanted:
        wanted, why = most, f"max_cost {policy.max_cost:g} leaves no more, ${state.spent_usd:.4f} are spent"
    surely = max(wanted, math.ceil(seen.work_s * SLACK / policy.target_s))
    fewer = surely < seen.hosts
    since_s = (seen.now_s if state.fewer_since_s is None else state.fewer_since_s) if fewer else None
    if seen.hosts > min(most, policy.max_hosts):
        change, held = wanted - seen.hosts, ""  # limits know no patience
    elif wanted > seen.hosts:
        change, held = _up(policy, state, seen, wanted)
    else:
        change, held = _down(policy, state, seen, surely, since_s)
    spent = most == 0 and policy.max_cost is not None
    state = msgspec.structs.replace(
        state,
        looked_s=seen.now_s,
        hosts=seen.hosts + seen.draining + max(0, change),
        submitted=dict(seen.submitted),
        fired={**state.fired, **dict.fromkeys(due, seen.now_s)} if change > 0 else state.fired,
        up_s=seen.now_s if change > 0 else state.up_s,
        down_s=seen.now_s if change < 0 else state.down_s,
        fewer_since_s=since_s,
    )
    return Decision(wanted, change, f"{why}{held}", spent), state


# --- how many ------------------------------------------------------------------------------------------


def _by_target(policy: Policy, seen: Observation) -> tuple[int, str]:
    if not seen.work_s:
        return 0, "nothing is queued"
    wanted = math.ceil(seen.work_s / policy.target_s)
    return wanted, f"{seen.work_s:,.0f} s of work in {policy.target_s:g} s"


def _due_rules(policy: Policy, state: PolicyState, now_s: float) -> list[str]:
    due = []
    for name, rule in policy.rules.items():
        came = sum(count for at_s, count in state.arrivals if at_s > now_s - rule.within_s)
        if came > rule.arrived and now_s - state.fired.get(name, -math.inf) >= rule.within_s:
            due.append(name)
    return due


def _within(policy: Policy, wanted: int, why: str) -> tuple[int, str]:
    if wanted > policy.max_hosts:
        return policy.max_hosts, f"{why}: {counted(wanted, 'host')}, and max_hosts is {policy.max_hosts}"
    if wanted < policy.min_hosts:
        return policy.min_hosts, f"{why}; min_hosts is {policy.min_hosts}"
    return wanted, why


def _affordable(policy: Policy, state: PolicyState, seen: Observation, hour_usd: float | None) -> int:
    """Hosts that may be up until the next look and drain after it without passing `max_cost`."""
    if policy.max_cost is None or not hour_usd:
        return policy.max_hosts
    second_usd = hour_usd / HOUR_S
    left_usd = policy.max_cost - state.spent_usd - seen.draining * second_usd * policy.drain_s
    return max(0, math.floor(left_usd / (second_usd * (policy.look_s + policy.drain_s))))


def _up(policy: Policy, state: PolicyState, seen: Observation, wanted: int) -> tuple[int, str]:
    """How many come now, and why not all."""
    if _waits(state.up_s, policy.up_cooldown_s, seen.now_s) and seen.hosts >= policy.min_hosts:
        return 0, "; cooling down after the last ones came"
    room = policy.max_hosts - seen.hosts - seen.draining
    change = max(0, min(wanted - seen.hosts, policy.up_most, room))
    return change, "" if change else "; those that drain count until they are gone"


def _down(
    policy: Policy, state: PolicyState, seen: Observation, surely: int, since_s: float | None
) -> tuple[int, str]:
    """How many go now, and why not all. surely: the number that is enough even for somewhat more work."""
    if since_s is None:
        return 0, ""
    if seen.now_s - since_s < policy.down_after_s:
        return 0, f"; they stay until fewer have done for {policy.down_after_s:g} s"
    if _waits(state.down_s, policy.down_cooldown_s, seen.now_s):
        return 0, "; cooling down after the last ones went"
    return max(surely - seen.hosts, -policy.down_most), ""


def _waits(last_s: float | None, pause_s: float, now_s: float) -> bool:
    return last_s is not None and now_s - last_s < pause_s


# --- what has been -------------------------------------------------------------------------------------


def _with_costs(state: PolicyState, seen: Observation, hour_usd: float | None) -> PolicyState:
    """From one look to the next as many hosts are charged as were there at its begin or its end; at the first
    look, all for their time so far."""
    up_s = seen.host_s
    if state.looked_s is not None:
        up_s = max(state.hosts, seen.hosts + seen.draining) * max(0.0, seen.now_s - state.looked_s)
    return msgspec.structs.replace(state, spent_usd=state.spent_usd + up_s * (hour_usd or 0.0) / HOUR_S)


def _with_arrivals(policy: Policy, state: PolicyState, seen: Observation) -> PolicyState:
    """What was queued before the first look of all is no arrival."""
    back_s = max((rule.within_s for rule in policy.rules.values()), default=0.0)
    kept = [each for each in state.arrivals if each[0] > seen.now_s - back_s]
    if state.looked_s is not None:
        new = sum(max(0, count - state.submitted.get(run, 0)) for run, count in seen.submitted.items())
        if new:
            kept.append((seen.now_s, new))
    return msgspec.structs.replace(state, arrivals=kept)


def read_policy(path: Path) -> Policy:
    """Raises ConfigurationError with the place of what is wrong."""
    return msgspec.convert(plain(checked(path, Policy)), Policy)
