"""What a worker holds: how often its heart beats, and which claims that keeps alive."""

from __future__ import annotations

import pytest

from kon.core.strategy import Claim
from kon.core.task import Bundle, Outcome, State, Task
from kon.engine.holding import Held, Holding, Job, heartbeat_s
from tests.engine.world import World, in_virtual_time


@pytest.mark.parametrize(
    ("lease_s", "wanted_s"),
    [(None, 10.0), (6.0, 2.0), (90.0, 10.0)],
)
def test_two_beats_may_fail_before_the_message_or_the_lease_runs_out(
    lease_s: float | None, wanted_s: float
) -> None:
    assert heartbeat_s(30.0, lease_s) == wanted_s


def test_claims_are_kept_alive_of_what_may_run_and_has_not_ended() -> None:
    """Of what was turned away there is no claim, and one that is being committed must not change."""

    async def main() -> None:
        world = await World.create(3)
        await world.send({}, {}, {}, bundle=True)
        [delivery] = await world.channel.tasks.receive(1, 0.0)
        tasks = [Task(index, {}) for index in range(3)]
        held = Held(delivery, Bundle("r", tasks), 1)
        held.jobs = [Job(held, Claim(task), task) for task in tasks]
        running, ended, turned_away = held.jobs
        ended.outcome = Outcome(1, 1, State.DONE)
        turned_away.runs = False
        holding = Holding()
        holding.deliveries[held] = None
        assert holding.open_jobs() == [running]

    in_virtual_time(main())
