"""The policy by itself: what is seen goes in, how many hosts come or go comes out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from kon.core.errors import ConfigurationError
from kon.fleet.autoscale import Decision, Observation, Policy, PolicyState, ScaleRule, decide
from kon.fleet.autoscale.policy import read_policy

HOUR_USD = 0.36
"""Of a host: a cent for 100 s."""


class Looks:
    """One look after another, on a fleet that does at once what is decided."""

    def __init__(self, policy: Policy, hour_usd: float | None = None, hosts: int = 0) -> None:
        self.policy = policy
        self.hour_usd = hour_usd
        self.hosts = hosts
        self.state = PolicyState()

    def look(self, now_s: float, work_s: float, **seen: Any) -> Decision:
        observation = Observation(now_s, self.hosts, work_s=work_s, **seen)
        decision, self.state = decide(self.policy, self.state, observation, self.hour_usd)
        self.hosts += decision.change
        return decision


def test_hosts_are_as_many_as_do_the_work_in_time() -> None:
    looks = Looks(Policy(max_hosts=10, target_s=100.0))
    decision = looks.look(0.0, 450.0)
    assert (decision.wanted, decision.change) == (5, 5)
    assert decision.why == "450 s of work in 100 s"
    assert Looks(Policy(max_hosts=10)).look(0.0, 0.1).change == 1, "some work is work for one"
    assert Looks(Policy(max_hosts=10)).look(0.0, 0.0).change == 0


def test_never_more_than_the_maximum_with_those_that_drain() -> None:
    looks = Looks(Policy(max_hosts=4, target_s=1.0), hosts=1)
    assert looks.look(0.0, 1e6, draining=2).change == 1
    assert looks.look(100.0, 1e6, draining=2).change == 0
    assert looks.look(200.0, 1e6).change == 2


def test_more_come_at_once_then_there_is_a_pause() -> None:
    looks = Looks(Policy(max_hosts=100, target_s=1.0, up_most=8, up_cooldown_s=60.0))
    assert looks.look(0.0, 50.0).change == 8
    held = looks.look(30.0, 50.0)
    assert (held.change, "cooling down" in held.why) == (0, True)
    assert looks.look(60.0, 50.0).change == 8


def test_fewer_only_after_a_while_and_a_few_at_a_time() -> None:
    policy = Policy(max_hosts=9, target_s=100.0, down_after_s=300.0, down_most=2, down_cooldown_s=60.0)
    looks = Looks(policy, hosts=5)
    assert looks.look(0.0, 0.0).change == 0
    assert looks.look(299.0, 0.0).change == 0
    assert looks.look(300.0, 0.0).change == -2
    assert looks.look(330.0, 0.0).change == 0, "a pause after that"
    assert looks.look(360.0, 0.0).change == -2
    assert looks.look(420.0, 0.0).change == -1
    assert looks.hosts == 0, "to nothing"


def test_work_that_comes_again_begins_the_wait_anew() -> None:
    looks = Looks(Policy(max_hosts=9, target_s=100.0, down_after_s=300.0), hosts=2)
    assert looks.look(0.0, 0.0).change == 0
    assert looks.look(200.0, 200.0).change == 0
    assert looks.look(400.0, 0.0).change == 0
    assert looks.look(700.0, 0.0).change == -2


def test_a_little_less_work_is_no_reason_to_go() -> None:
    """Without the slack, work around a boundary would have a host come and go all the time."""
    looks = Looks(Policy(max_hosts=9, target_s=100.0, down_after_s=0.0, down_cooldown_s=0.0), hosts=3)
    for now_s in range(0, 1000, 100):
        assert looks.look(now_s, 199.0).change == 0
    assert looks.look(1000.0, 160.0).change == -1


def test_never_fewer_than_the_minimum() -> None:
    looks = Looks(Policy(max_hosts=9, min_hosts=2, down_after_s=0.0, down_most=9))
    assert looks.look(0.0, 0.0).change == 2
    looks.hosts = 6
    assert looks.look(100.0, 0.0).change == -4
    assert looks.look(1000.0, 0.0).change == 0


def test_hosts_above_the_maximum_go_at_once() -> None:
    assert Looks(Policy(max_hosts=2), hosts=5).look(0.0, 1e6).change == -3


def test_a_rule_adds_hosts_when_so_many_came_and_not_again_for_as_long() -> None:
    rule = ScaleRule(arrived=30, within_s=900.0, add=3)
    looks = Looks(Policy(max_hosts=20, target_s=1e6, down_after_s=1e9, rules={"burst": rule}))
    assert looks.look(0.0, 1.0, submitted={"r": 1000}).change == 1, "what was there before is no arrival"
    assert looks.look(100.0, 1.0, submitted={"r": 1030}).change == 0, "30 are not more than 30"
    added = looks.look(200.0, 1.0, submitted={"r": 1030, "s": 1})
    assert (added.change, added.why) == (3, "rule burst: more than 30 tasks came")
    assert looks.look(300.0, 1.0, submitted={"r": 1100, "s": 1}).change == 0
    assert looks.look(1099.0, 1.0, submitted={"r": 1100, "s": 1}).change == 0
    assert looks.look(1100.0, 1.0, submitted={"r": 1100, "s": 1}).change == 3, "70 came at 300 s"
    assert looks.look(2100.0, 1.0, submitted={"r": 1100, "s": 1}).change == 0, "and are long ago"


def test_max_cost_is_never_passed_and_comes_before_the_minimum() -> None:
    policy = Policy(max_hosts=10, min_hosts=1, target_s=1.0, max_cost=0.05, look_s=10.0, drain_s=10.0)
    looks = Looks(policy, HOUR_USD)
    now_s, spent_usd = 0.0, 0.0
    while not (decision := looks.look(now_s, 1e6)).spent:
        spent_usd += looks.hosts * 10.0 * HOUR_USD / 3600.0
        now_s += 10.0
        assert now_s < 10_000
    assert looks.hosts == 0
    assert "max_cost 0.05" in decision.why
    assert 0.04 < spent_usd <= 0.05
    assert looks.look(now_s + 10.0, 1e6).change == 0


def test_what_hosts_cost_before_the_first_look_counts() -> None:
    looks = Looks(Policy(max_hosts=5, max_cost=1.0), HOUR_USD, hosts=2)
    decision = looks.look(0.0, 1e6, host_s=10_000.0)
    assert (decision.change, decision.spent) == (-2, True)


@settings(max_examples=300)
@given(
    works=some.lists(some.tuples(some.floats(1, 500), some.floats(0, 1e5)), min_size=1, max_size=60),
    least=some.integers(0, 3),
    most=some.integers(3, 12),
    usd=some.one_of(some.none(), some.floats(0.01, 1.0)),
)
def test_whatever_comes_limits_hold(
    works: list[tuple[float, float]], least: int, most: int, usd: float | None
) -> None:
    looks, now_s = Looks(Policy(max_hosts=most, min_hosts=least, max_cost=usd), HOUR_USD), 0.0
    for pause_s, work_s in works:
        now_s += pause_s
        looks.look(now_s, work_s)
        assert 0 <= looks.hosts <= most
        assert looks.hosts >= least or usd is not None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("max_hosts: 4\ntarget: 9\n", ':2:1: unknown key "target", did you mean "target_s"?'),
        (
            "max_hosts: 4\nrules:\n  burst: {arived: 30, within_s: 9}\n",
            ':3:11: unknown key "arived", did you mean "arrived"?',
        ),
        ("max_hosts: 0\n", ":1:12: max_hosts: expected a whole number of at least 1, found 0"),
        ("min_hosts: 1\n", 'missing key "max_hosts"'),
        ("max_hosts: 1\nmin_hosts: 2\n", "min_hosts (2) is above max_hosts (1)"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "policy.yml"
    file.write_text(text)
    with pytest.raises(ConfigurationError) as refused:
        read_policy(file)
    assert said in str(refused.value)
    assert str(file) in str(refused.value)
