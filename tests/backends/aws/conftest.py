"""Calls that tests share, as boto3's clients are slow to make; for tests that count nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress

import pytest

from kon.backends.aws.calls import Calls
from kon.backends.aws.failures import CallRefused
from kon.backends.emulator import Emulator

pytest.register_assert_rewrite("tests.backends.aws.rules")


@pytest.fixture(scope="session")
def calls_of_ministack(ministack: Emulator) -> Iterator[Calls]:
    yield from _calls(ministack)


@pytest.fixture(scope="session")
def calls_of_moto(moto: Emulator) -> Iterator[Calls]:
    yield from _calls(moto)


def _calls(emulator: Emulator) -> Iterator[Calls]:
    async def warm() -> None:
        with suppress(CallRefused):  # neither is there
            await calls.call("dynamodb", "DescribeTable", TableName="kon-none")
        with suppress(CallRefused):
            await calls.call("s3", "HeadBucket", Bucket="kon-none")

    calls = Calls(client="boto3")  # whose connections outlast an event loop
    with emulator.in_use():  # clients keep to it that were made meanwhile
        asyncio.run(warm())
    yield calls
    asyncio.run(calls.close())
