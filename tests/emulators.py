"""Fixtures: Amazon's services on this machine, one server of each kind for the whole session.

`ministack` and `moto` give the server; `on_ministack` and `on_moto` also lead this process, and what it
starts, to it for one test. Names of queues, tables and buckets have to be the test's own.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kon.emulator import Emulator, started


@pytest.fixture(scope="session")
def ministack() -> Iterator[Emulator]:
    with started("ministack") as emulator:
        yield emulator


@pytest.fixture(scope="session")
def moto() -> Iterator[Emulator]:
    with started("moto") as emulator:
        yield emulator


@pytest.fixture
def on_ministack(ministack: Emulator) -> Iterator[Emulator]:
    with ministack.in_use():
        yield ministack


@pytest.fixture
def on_moto(moto: Emulator) -> Iterator[Emulator]:
    with moto.in_use():
        yield moto
