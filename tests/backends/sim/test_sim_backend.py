"""The backend `sim`: its options, and the channel that it gives."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kon.backends.sim.backend import SimBackend
from kon.backends.sim.loop import SimLoop, simulate
from kon.backends.sim.network import Network
from kon.backends.sim.trace import Trace
from kon.core.backend import ChannelOptions
from kon.core.errors import ConfigurationError, StoreError
from tests.backends.sim.world import messages, run


def test_a_run_is_made_opened_and_deleted() -> None:
    async def main() -> None:
        backend = SimBackend({})
        await backend.create("run", ChannelOptions(max_receives=1))
        await backend.create("run", ChannelOptions(max_receives=1))
        channel = await backend.open("run")
        await channel.tasks.send(messages([1]))
        again = await backend.open("run")
        assert again is channel
        assert len(await again.tasks.receive(1, 0.0)) == 1
        assert await again.tasks.receive(1, 100.0) == []
        assert len(await again.dead.receive(1, 0.0)) == 1
        assert backend.requests == 4
        with pytest.raises(ConfigurationError, match="there already"):
            await backend.create("run", ChannelOptions(max_receives=2))
        await backend.delete("run")
        await backend.delete("run")
        with pytest.raises(StoreError, match='no run "run"'):
            await backend.open("run")
        await backend.close()

    run(main())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fault": {}}, r'unknown option "fault" of backend sim, did you mean "faults"'),
        (
            {"faults": {"duplicates": 0.1}},
            r'"faults" of backend sim: unknown key "duplicates", did you mean "duplicate"',
        ),
        ({"faults": {"duplicate": 1.5}}, r"duplicate is 1\.5; a rate is from 0 to 1"),
        (
            {"faults": {"duplicate": "often"}},
            r'"faults.duplicate" of backend sim: expected a number, found "often"',
        ),
        ({"faults": 3}, r'"faults" of backend sim: expected a mapping, found 3'),
        ({"spans": {"stale_s": -1.0}}, r"stale_s is -1\.0"),
        ({"spans": {"stale": 1.0}}, r'"spans" of backend sim: unknown key "stale", did you mean "stale_s"'),
        ({"latency": {"queue.sent": {"median_s": 1.0, "p99_s": 1.0}}}, r'unknown call "queue\.sent"'),
        (
            {"latency": {"queue.send": {"median_s": 1.0}}},
            r'"latency.queue.send" of backend sim: missing key "p99_s"',
        ),
        ({"latency": {"queue.send": {"median_s": 0.0, "p99_s": 1.0}}}, r"median_s 0\.0"),
        ({"seed": "x"}, r'"seed" of backend sim: expected a whole number, found "x"'),
    ],
)
def test_options_that_can_not_be_used_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        SimBackend(options)


def test_faults_latency_and_seed_reach_the_services() -> None:
    async def main(seed: int) -> tuple[float, int]:
        backend = SimBackend(
            {
                "seed": seed,
                "faults": {"delay": 0.5},
                "spans": {"delay_s": 10.0},
                "latency": {"queue.send": {"median_s": 0.01, "p99_s": 0.1}},
            }
        )
        await backend.create("run", ChannelOptions())
        channel = await backend.open("run")
        await channel.tasks.send(messages(range(10)))
        took_s = asyncio.get_running_loop().time()
        return took_s, channel.tasks.messages.true_depth().delayed  # type: ignore[attr-defined] # SimQueue's own

    results = [run(main(seed)) for seed in (1, 1, 2)]
    assert results[0] == results[1] != results[2]
    assert results[0][0] > 0.0
    assert 0 < results[0][1] < 10


def test_duplicates_of_answers_have_a_rate_of_their_own() -> None:
    async def main(fault: str) -> tuple[int, int]:
        backend = SimBackend({"faults": {fault: 1.0}, "spans": {"duplicate_s": 0.0}})
        await backend.create("run", ChannelOptions())
        channel = await backend.open("run")
        counts = []
        for queue in (channel.tasks, channel.answers):
            await queue.send(messages([1]))
            await queue.receive(1, 0.0)
            counts.append(len(await queue.receive(1, 0.0)))
        return counts[0], counts[1]

    assert run(main("duplicate")) == (1, 0)
    assert run(main("answer_duplicate")) == (0, 1)


def test_a_scenario_may_bring_its_own_network() -> None:
    network = Network(trace=Trace())
    backend = SimBackend.on(network)

    async def main() -> None:
        await backend.create("run", ChannelOptions())
        await (await backend.open("run")).tasks.send(messages([1]))

    simulate(main(), SimLoop())
    assert backend.network is network
    assert network.trace is not None
    assert [step.op for step in network.trace.steps] == ["send", "send"]
    assert backend.requests == 1


def test_it_shares_the_clients_process() -> None:
    assert SimBackend.processes is False
    assert SimBackend.name == "sim"
