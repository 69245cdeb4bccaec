"""Runs on SQS and DynamoDB in trouble: nothing is lost, and nothing kept twice, with real processes."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from kon.backends.emulator import Emulator
from kon.core.spec import Plugin
from tests.launch.faulty_proxy import RATES, FaultyProxy
from tests.launch.test_sigkill import AWS, Run, all_done_once, spec_of


def without_kills(path: Path, tasks: int, seconds: float, backend: Plugin = AWS) -> Run:
    run = Run(path, spec_of("lease", tasks, backend, 2.0, lease_s=2.0, skew_s=0.1))
    asyncio.run(run.run(seconds=seconds, kills=0, every_s=1.0))
    return run


@pytest.mark.parametrize(
    ("client", "tasks"),
    [("lean", 300), *(pytest.param(each, 600, marks=pytest.mark.slow) for each in ("lean", "boto3"))],
)
def test_lost_replies_errors_throttles_and_late_requests_lose_nothing(
    client: str, tasks: int, tmp_path: Path, ministack: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = FaultyProxy(ministack.endpoint, RATES, seed=5)
    with ministack.in_use(), proxy.listening() as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        options = {**AWS.options, "prefix": f"trouble-{client}-{tasks}", "client": client}
        run = without_kills(tmp_path, tasks, 0.005, Plugin("aws", options))
    all_done_once(run, tasks)
    assert set(proxy.fired) == set(RATES), proxy.fired


def stopped_for(seconds: float, path: Path, emulator: Emulator, tasks: int) -> None:
    """The run, while the service does not answer for so long."""

    async def main() -> None:
        run = Run(path, spec_of("lease", tasks, AWS, 2.0, lease_s=2.0, skew_s=0.1))

        async def stop_and_start() -> None:
            while not run.times("keep"):  # noqa: ASYNC110 - a look at the records alone tells
                await asyncio.sleep(0.05)
            os.kill(emulator.pid, signal.SIGSTOP)
            try:
                await asyncio.sleep(seconds)
            finally:
                os.kill(emulator.pid, signal.SIGCONT)

        async with asyncio.TaskGroup() as group:
            group.create_task(stop_and_start())
            group.create_task(run.run(seconds=0.01, kills=0, every_s=1.0))
        all_done_once(run, tasks)

    asyncio.run(main())


@pytest.mark.long
def test_a_service_that_is_away_for_longer_than_a_lease_costs_time_alone(
    tmp_path: Path, on_ministack: Emulator
) -> None:
    stopped_for(4.0, tmp_path, on_ministack, 800)


@pytest.mark.slow
def test_a_service_that_is_away_for_twenty_seconds_costs_time_alone(
    tmp_path: Path, on_ministack: Emulator
) -> None:
    stopped_for(20.0, tmp_path, on_ministack, 10_000)
