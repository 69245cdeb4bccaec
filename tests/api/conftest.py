"""What every test of the API needs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kon.api import background


@pytest.fixture(autouse=True)
def no_run_is_left() -> Iterator[None]:
    """A test that fails in the middle leaves no run behind, for which the end of this process would wait."""
    yield
    for each in list(background._running.values()):
        each.stop()
        each.join()
