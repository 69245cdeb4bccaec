"""The conformance suite's cases about ledgers, with options that the suite's own worlds of `aws` leave out.

Without the queues of a whole run, which take most of the time, and by boto3.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

import pytest

from kon.backends.aws.calls import Calls
from kon.backends.emulator import Emulator
from kon.core.backend import ChannelOptions
from tests.backends.aws.given import LedgersOnly, fresh_name
from tests.conformance import test_ledger
from tests.conformance.worlds import World, in_real_time, on_aws

CASES: Final = {name: case for name, case in vars(test_ledger).items() if name.startswith("test_")}
BATCH: Final = {"kind": "dynamodb"}
SINGLE: Final = {"kind": "dynamodb", "claims": "single"}
S3: Final = {"kind": "s3"}


def try_case(case: Any, calls: Calls, folder: Path, options: dict[str, Any]) -> None:
    given = {"calls": calls, "place": fresh_name(), **options}
    world = World(lambda _: LedgersOnly(given), in_real_time, 1.0)
    world.run(case.whole(world, folder))


@pytest.mark.parametrize("options", [BATCH, SINGLE, S3], ids=["batch", "single", "s3"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_on_ministack(calls_of_ministack: Calls, tmp_path: Path, case: Any, options: dict[str, Any]) -> None:
    try_case(case, calls_of_ministack, tmp_path, options)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_s3_on_moto(calls_of_moto: Calls, tmp_path: Path, case: Any) -> None:
    """Another's idea of conditional writes."""
    try_case(case, calls_of_moto, tmp_path, S3)


def test_the_option_for_stale_reads_is_for_the_strategys_ledger_alone(
    on_ministack: Emulator, tmp_path: Path
) -> None:
    async def body() -> None:
        backend = on_aws(tmp_path, reads="eventual")
        await backend.create("r", ChannelOptions())
        channel = await backend.open("r")
        assert channel.ledger.stale_reads
        assert not channel.control.stale_reads
        await backend.delete("r")
        await backend.close()

    asyncio.run(body())
