"""Emulators for the tests of the aws backend, each started once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

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
