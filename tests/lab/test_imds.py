"""The metadata service: version 2 only, each host its own answers."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.imds import TOKEN, TTL, Host, Tokens, server

INSTANCE: dict[str, Any] = {
    "InstanceId": "i-1",
    "PrivateIpAddress": "127.0.0.1",
    "InstanceType": "t3.micro",
    "Placement": {"AvailabilityZone": "us-east-1a"},
    "Tags": [{"Key": "ExpiresAt", "Value": "2030-01-01T00:00:00Z"}],
}


def test_a_token_is_good_for_its_host_and_its_time() -> None:
    now_s = [0.0]
    tokens = Tokens(lambda: now_s[0])
    token = tokens.issue("10.77.0.4", "60")
    assert tokens.is_good("10.77.0.4", token)
    assert not tokens.is_good("10.77.0.5", token)
    assert not tokens.is_good("10.77.0.4", "guessed")
    assert not tokens.is_good("10.77.0.4", None)
    now_s[0] = 60.0
    assert not tokens.is_good("10.77.0.4", token)


@pytest.mark.parametrize("ttl", [None, "", "0", "21601", "-1", "1h"])
def test_a_lifetime_that_amazon_refuses_is_refused(ttl: str | None) -> None:
    assert Tokens().issue("10.77.0.4", ttl) is None


class Service:
    """The service, asked by a host at 127.0.0.1."""

    def __init__(self) -> None:
        self.host: Host | None = Host(INSTANCE)
        self.server = server(("127.0.0.1", 0), lambda address: self.host, Tokens())

    def ask(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.server_port, timeout=10)
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        said = answer.read().decode()
        connection.close()
        return answer.status, said

    def get(self, path: str) -> tuple[int, str]:
        _, token = self.ask("PUT", "/latest/api/token", {TTL: "60"})
        return self.ask("GET", f"/latest/{path}", {TOKEN: token})


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()
    thread = threading.Thread(target=service.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield service
    service.server.shutdown()
    thread.join()
    service.server.server_close()


def test_without_a_token_it_says_nothing(service: Service) -> None:
    assert service.ask("GET", "/latest/meta-data/instance-id", {}) == (401, "")
    assert service.get("meta-data/instance-id") == (200, "i-1")
    assert service.get("meta-data/tags/instance/ExpiresAt") == (200, "2030-01-01T00:00:00Z")


def test_a_stranger_gets_no_answer(service: Service) -> None:
    service.host = None
    assert service.get("meta-data/instance-id")[0] == 404


def test_a_role_has_credentials_and_only_a_host_that_is_to_go_a_notice(service: Service) -> None:
    assert service.get("meta-data/iam/security-credentials/")[0] == 404
    assert service.get("meta-data/spot/instance-action")[0] == 404
    service.host = Host(INSTANCE, role="worker", spot_action='{"action": "terminate"}')
    assert service.get("meta-data/iam/security-credentials/") == (200, "worker")
    code, said = service.get("meta-data/iam/security-credentials/worker")
    assert (code, json.loads(said)["Code"]) == (200, "Success")
    assert service.get("meta-data/spot/instance-action") == (200, '{"action": "terminate"}')
