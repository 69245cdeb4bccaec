"""Fixtures: moto with its gaps mended, on a free port of this machine; no root needed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from tests.lab import servers


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with servers.moto("127.0.0.1", 0, tmp_path_factory.mktemp("moto") / "log") as url:
        yield url


@pytest.fixture
def aws(api: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Makes clients, by the name of a service."""
    for name, value in servers.variables(api).items():
        monkeypatch.setenv(name, value)
    clients: list[Any] = []

    def client(service: str) -> Any:
        clients.append(boto3.client(service))
        return clients[-1]

    yield client
    for each in clients:
        each.close()
