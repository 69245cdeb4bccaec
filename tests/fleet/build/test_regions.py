"""A region that does not exist."""

from __future__ import annotations

import pytest

from kon.backends.prices import usual_prices
from kon.core.errors import ConfigurationError
from kon.fleet.build import look
from tests.fleet.build.conftest import Maker


def test_a_region_that_can_not_be_used_is_told(work: Maker) -> None:
    with pytest.raises(
        ConfigurationError, match='The region "mars-north-1" is not one that this account can'
    ):
        look(work(region="mars-north-1"), usual_prices())
