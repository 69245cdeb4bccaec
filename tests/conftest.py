"""Fixtures that tests of several folders use, and how tests are shared out among pytest-xdist's processes."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import Final

import pytest

from tests.emulators import inbox, ministack, moto, on_ministack, on_moto, short_pauses

__all__ = ["inbox", "ministack", "moto", "on_ministack", "on_moto", "short_pauses"]

LONGEST: Final = Path(__file__).parent / "playbooks"
"""Whose single tests take up to a minute."""


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_xdist_auto_num_workers() -> Generator[None, int, int]:
    """`-n auto`: three processes for two cores, as about a third of what the tests take is waiting, for
    processes that start and end and for leases that run out."""
    cores = yield
    return cores if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ else cores + (cores + 1) // 2


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest tests first, so that none of them begins when the other processes are about to end."""
    if hasattr(config, "workerinput"):  # pytest-xdist's
        items.sort(key=lambda item: not item.path.is_relative_to(LONGEST))
