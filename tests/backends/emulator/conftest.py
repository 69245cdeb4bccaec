"""Fixtures: the emulators as they are, without Amazon's rules, in place of the strict ones."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kon.backends.emulator import Emulator, started


@pytest.fixture(scope="session")
def ministack() -> Iterator[Emulator]:
    with started("ministack") as emulator:
        yield emulator


@pytest.fixture(scope="session")
def moto() -> Iterator[Emulator]:
    with started("moto") as emulator:
        yield emulator
