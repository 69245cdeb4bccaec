"""Who may see the page."""

from __future__ import annotations

import hmac
import socket

import pytest

from kon.report.live.guard import HEADERS, PageGuard, is_loopback, is_own


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.1.2.3"])
def test_this_machine_alone_needs_no_token(host: str) -> None:
    assert is_loopback(host)
    guard = PageGuard(host)
    assert guard.opens(None)
    assert "token" not in guard.link(80)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_whoever_acts_has_the_token_even_here(host: str) -> None:
    guard = PageGuard(host)
    assert guard.link(80, acts=True).endswith(f"/?token={guard.token}")
    assert [guard.is_token(given) for given in (None, "", guard.token[:-1], guard.token)] == [
        *[False] * 3,
        True,
    ]


HERE = {"Host": "localhost:80"}


@pytest.mark.parametrize(
    ("headers", "own"),
    [
        ({**HERE, "Sec-Fetch-Site": "same-origin"}, True),
        ({**HERE, "Sec-Fetch-Site": "same-site", "Origin": "http://localhost:80"}, False),
        ({**HERE, "Sec-Fetch-Site": "cross-site"}, False),
        ({**HERE, "Sec-Fetch-Site": "none"}, False),
        ({**HERE, "Origin": "http://localhost:80"}, True),
        ({**HERE, "Origin": "http://localhost:81"}, False),
        ({**HERE, "Origin": "null"}, False),
        (HERE, False),
        ({"Origin": "http://"}, False),
    ],
)
def test_only_a_page_of_its_own_may_act(headers: dict[str, str], own: bool) -> None:
    assert is_own(headers) is own


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "example.com", "127.0.0.1.example.com", ""])
def test_whatever_else_listens_has_a_token(host: str) -> None:
    guard = PageGuard(host)
    assert len(guard.token) >= 43, "32 random bytes"
    assert guard.link(80).endswith(f"/?token={guard.token}")
    assert not guard.opens(None)
    assert not guard.opens("")
    assert not guard.opens(guard.token[:-1])
    assert not guard.opens("ü" * 43)
    assert guard.opens(guard.token)


def test_every_token_is_another() -> None:
    assert PageGuard("0.0.0.0").token != PageGuard("0.0.0.0").token


def test_tokens_are_compared_in_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def compare(one: bytes, other: bytes) -> bool:
        asked.append((one, other))
        return True

    monkeypatch.setattr(hmac, "compare_digest", compare)
    guard = PageGuard("0.0.0.0")
    assert guard.opens("x")
    assert asked == [(b"x", str(guard.token).encode())]


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "[::1]", "LOCALHOST"])
def test_its_own_names_with_any_port(name: str) -> None:
    guard = PageGuard("127.0.0.1")
    assert guard.knows(name)
    assert guard.knows(f"{name}:8080"), "ssh -L has another port"


@pytest.mark.parametrize(
    "name", [None, "", "example.com", "example.com:80", "localhost.example.com", "10.0.0.1", "[::2]:80"]
)
def test_other_names_are_refused(name: str | None) -> None:
    assert not PageGuard("127.0.0.1").knows(name)


def test_beyond_this_machine_it_goes_by_numbers_and_by_the_machines_name() -> None:
    guard = PageGuard("0.0.0.0")
    for name in ("10.0.0.1:80", "[fe80::1]:80", f"{socket.gethostname()}:80", "localhost:80"):
        assert guard.knows(name), name
    assert not guard.knows("example.com:80")
    assert PageGuard("example.com").knows("example.com:80")


def test_links_can_be_opened() -> None:
    assert PageGuard("127.0.0.1").link(81) == "http://localhost:81/"
    assert PageGuard("::1").link(81) == "http://[::1]:81/"
    assert PageGuard("0.0.0.0").link(81).startswith(f"http://{socket.gethostname()}:81/?token=")


def test_no_other_script_runs() -> None:
    policy = HEADERS["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert not any(name.startswith("Access-Control") for name in HEADERS)
