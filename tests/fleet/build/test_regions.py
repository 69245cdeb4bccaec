"""A region that does not exist."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.client import BaseClient
from botocore.exceptions import EndpointConnectionError

from kon.backends.prices import usual_prices
from kon.core.errors import BackendRefused, ConfigurationError
from kon.fleet.build import look
from tests.fleet.build.conftest import Maker


def test_a_region_that_can_not_be_used_is_told(work: Maker) -> None:
    with pytest.raises(
        ConfigurationError, match='The region "mars-north-1" is not one that this account can'
    ):
        look(work(region="mars-north-1"), usual_prices())


def test_a_network_that_is_not_there_is_not_taken_for_a_region_that_is_not(
    work: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(self: Any, operation: str, given: dict[str, Any]) -> Any:
        raise EndpointConnectionError(endpoint_url="https://nobody")

    monkeypatch.setattr(BaseClient, "_make_api_call", cut)
    with pytest.raises(BackendRefused, match="is there a network"):
        look(work(), usual_prices())
