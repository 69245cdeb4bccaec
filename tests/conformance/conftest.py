"""The order of the suite's tests."""

from __future__ import annotations

import pytest

from tests.conformance.bed import world_of


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """World by world where cases run abreast: those of a batch then follow upon each other, and pytest-xdist
    gives them to one process."""
    abreast = [item for item in items if (world := world_of(item)) is not None and world.abreast > 1]
    if abreast:
        moved = set(abreast)
        at = items.index(abreast[0])
        rest = [item for item in items if item not in moved]
        worlds = list(dict.fromkeys(map(world_of, abreast)))
        items[:] = [*rest[:at], *sorted(abreast, key=lambda item: worlds.index(world_of(item))), *rest[at:]]
