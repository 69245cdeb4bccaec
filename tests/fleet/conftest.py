"""Fixtures: an account of Amazon's, of nobody's, in each of a few regions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from tests.emulators import reset
from tests.lab import servers

TAGS = {"Project": "kon", "Run": "r1", "ExpiresAt": "2030-01-01T00:00:00Z"}


class Account:
    """url: of the server. Clients of services, by name and region."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._made: list[Any] = []

    def client(self, service: str, region: str = "us-east-1") -> Any:
        self._made.append(boto3.client(service, region_name=region))
        return self._made[-1]

    def close(self) -> None:
        for each in self._made:
            each.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its URL. It takes longer to start than most tests of it take."""
    with servers.moto("127.0.0.1", 0, tmp_path_factory.mktemp("moto") / "log") as url:
        yield url


@pytest.fixture
def account(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    """An account in which nobody has made anything yet."""
    reset(server)
    for name, value in servers.variables(server).items():
        monkeypatch.setenv(name, value)
    account = Account(server)
    yield account
    account.close()


def listed(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def specified(kind: str, tags: dict[str, str] = TAGS) -> list[dict[str, Any]]:
    return [{"ResourceType": kind, "Tags": listed(tags)}]
