"""Emulators for the tests of the aws backend, each started once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from kon.backends.aws.calls import Calls
from kon.emulator import Emulator, started


@pytest.fixture(scope="session")
def ministack() -> Iterator[Emulator]:
    with started("ministack") as emulator:
        yield emulator


@pytest.fixture
def on_ministack(ministack: Emulator) -> Iterator[Emulator]:
    """boto3 talks to MiniStack for the length of the test."""
    with ministack.in_use():
        yield ministack


@pytest.fixture(scope="session")
def moto() -> Iterator[Emulator]:
    with started("moto") as emulator:
        yield emulator


@pytest.fixture
def on_moto(moto: Emulator) -> Iterator[Emulator]:
    """boto3 talks to moto for the length of the test."""
    with moto.in_use():
        yield moto


@pytest.fixture(scope="session")
def calls_of_ministack(ministack: Emulator) -> Iterator[Calls]:
    """Made once, as clients are slow to make; for tests that count nothing."""
    with ministack.in_use():
        yield from _calls()


@pytest.fixture(scope="session")
def calls_of_moto(moto: Emulator) -> Iterator[Calls]:
    with moto.in_use():
        yield from _calls()


def _calls() -> Iterator[Calls]:
    async def warm() -> None:
        await calls.call("dynamodb", "ListTables")
        await calls.call("s3", "ListBuckets")

    calls = Calls()
    asyncio.run(warm())  # while the environment leads to the emulator
    yield calls
    asyncio.run(calls.close())
