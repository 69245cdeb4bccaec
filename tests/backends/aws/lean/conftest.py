"""Clients that nobody answers, as they are slow to make."""

from __future__ import annotations

import pytest

from kon.backends.aws.billing import Meter
from kon.backends.aws.clients import Clients
from kon.core.backend import RequestCount
from tests.backends.aws.lean.server import lead_to


@pytest.fixture(scope="session")
def clients() -> Clients:
    with pytest.MonkeyPatch.context() as environment:
        lead_to(environment, "http://127.0.0.1:1")
        clients = Clients(None, Meter(RequestCount()), 1)
        clients.get("sqs"), clients.get("dynamodb")
    return clients
