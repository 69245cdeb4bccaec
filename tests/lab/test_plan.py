"""The lab's parts that need neither root nor Linux: addresses, what it takes from the machine, requests of a
proxy."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.lab.addresses import PREFIX, host_name, is_in_lab, lab_home, namespace_name
from tests.lab.machine import pip_settings
from tests.lab.outside import sweep_leftovers
from tests.lab.proxy import parse


def test_hosts_are_where_the_lab_is_and_the_gateway_is_none() -> None:
    assert [is_in_lab(ip) for ip in ("10.77.0.4", "10.77.255.9", "10.77.0.1", "172.31.0.4")] == [
        True,
        True,
        False,
        False,
    ]


def test_a_host_is_named_as_amazon_does_it() -> None:
    assert host_name("10.77.0.4") == "ip-10-77-0-4"
    interface = f"v{namespace_name('i-0123456789abcdef0')}"
    assert len(interface) < 16, "Linux takes no longer name"


def test_the_image_is_kept_where_the_user_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    monkeypatch.delenv("KON_LAB_HOME", raising=False)
    assert lab_home() == Path("/elsewhere/kon-lab")
    monkeypatch.setenv("KON_LAB_HOME", "/mine")
    assert lab_home() == Path("/mine")


def test_folders_of_this_machine_are_no_index_of_a_host() -> None:
    lines = [
        "global.index-url='https://mirror.example/simple'",
        "global.extra-index-url='file:///srv/packages https://more.example/simple'",
        "global.find-links='/opt/wheels'",
        ":env:.timeout='180'",
    ]
    assert pip_settings(lines) == {
        "index-url": "https://mirror.example/simple",
        "extra-index-url": "https://more.example/simple",
    }


def test_a_request_to_the_proxy_becomes_one_to_the_server() -> None:
    asked = parse(
        b"GET http://deb.example:8080/a/b?c=d HTTP/1.1\r\nHost: deb.example\r\nConnection: keep-alive\r\n\r\n"
    )
    assert (asked.host, asked.port, asked.is_tunnel) == ("deb.example", 8080, False)
    head = b"GET /a/b?c=d HTTP/1.1\r\nHost: deb.example\r\nConnection: close\r\n\r\n"
    assert asked.head == head


def test_a_tunnel_sends_nothing_of_its_own() -> None:
    assert parse(b"CONNECT pypi.example:443 HTTP/1.1\r\nHost: pypi.example\r\n\r\n") == (
        "pypi.example",
        443,
        True,
        b"",
    )


@pytest.mark.parametrize("head", [b"GET / HTTP/1.1\r\n\r\n", b"GET ftp://a/ HTTP/1.1\r\n\r\n", b"x\r\n\r\n"])
def test_what_is_for_no_proxy_is_refused(head: bytes) -> None:
    with pytest.raises(ValueError, match=r"proxy|unpack"):
        parse(head)


def test_only_what_a_lab_that_is_gone_has_left_is_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    gone = subprocess.Popen(["true"])
    gone.wait()
    ours, theirs = tmp_path / f"{PREFIX}{os.getpid()}-x", tmp_path / f"{PREFIX}{gone.pid}-x"
    strange = tmp_path / f"{PREFIX}notes"
    for folder in (ours, theirs, strange):
        folder.mkdir()
    monkeypatch.setenv("KON_LAB", str(gone.pid))
    sweep_leftovers()
    assert theirs.exists(), "that of the lab around this one, whose process is not seen in here"
    monkeypatch.delenv("KON_LAB")
    sweep_leftovers()
    assert sorted(tmp_path.iterdir()) == sorted([ours, strange])
