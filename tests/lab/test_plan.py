"""The lab's parts that need neither root nor Linux: addresses, what it takes from the machine, requests of a
proxy."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.lab import machine
from tests.lab.addresses import PREFIX, host_name, is_in_lab, lab_home, namespace_name
from tests.lab.halves import FIRST, PROJECT, halves, verdict
from tests.lab.image import SUITE, recipe, unavailable
from tests.lab.machine import Machine, missing, pip_settings, unreached
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
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    names = (str(os.getpid()), f"{os.getpid()}.7", str(gone.pid), f"{gone.pid}.7", f"7.{gone.pid}", "notes")
    ours, in_ours, theirs, in_theirs, in_another, strange = (tmp_path / f"{PREFIX}{each}-x" for each in names)
    for folder in (ours, in_ours, theirs, in_theirs, in_another, strange):
        folder.mkdir()
    monkeypatch.setenv("KON_LAB", "7")
    sweep_leftovers()
    assert theirs.exists(), "that of a lab beside the one around, whose process is not seen in here"
    assert not in_another.exists(), "what was left in the lab around"
    monkeypatch.delenv("KON_LAB")
    sweep_leftovers()
    assert sorted(tmp_path.iterdir()) == sorted([ours, in_ours, strange])


def test_another_system_is_told_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.lab.machine.sys.platform", "darwin")
    assert missing() == ["it needs Linux, and this is darwin"]


@pytest.mark.skipif(sys.platform != "linux", reason="a lab's reasons on Linux")
def test_each_reason_why_it_can_not_run_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.lab.machine.os.geteuid", lambda: 1000)
    monkeypatch.setattr(
        "tests.lab.machine.shutil.which", lambda tool, path: None if tool == "debootstrap" else tool
    )
    monkeypatch.setattr(machine, "unified_cgroups", lambda: None)
    assert missing() == [
        "it needs root",
        "missing: debootstrap; `make lab-tools` installs them",
        "there is no cgroup2 file system",
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="a lab's reasons on Linux")
def test_what_the_kernel_refuses_is_tried_and_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tests.lab.machine.os.geteuid", lambda: 0)
    monkeypatch.setattr("tests.lab.machine.shutil.which", lambda tool, path: tool)
    monkeypatch.setattr(machine, "unified_cgroups", lambda: tmp_path)
    unshare = tmp_path / "unshare"
    unshare.write_text("#!/bin/sh\necho 'mount: not permitted' >&2\nexit 32\n")
    unshare.chmod(0o755)
    monkeypatch.setattr(machine, "_PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert missing() == [
        "this kernel, or the container around, does not let hosts be made: mount: not permitted"
    ]
    assert list(tmp_path.iterdir()) == [unshare], "and no cgroup is left"
    unshare.write_text("#!/bin/sh\n")
    assert missing() == []
    monkeypatch.setattr(machine, "unified_cgroups", lambda: tmp_path / "none")
    [why] = missing()
    assert "no cgroup can be made: [Errno 2]" in why


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[str]:
    """A server of packages, with one file."""
    (tmp_path / "served").mkdir()
    (tmp_path / "served/file").write_text("-")
    handler = partial(QuietHandler, directory=str(tmp_path / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


def test_a_mirror_that_gives_nothing_is_told(mirror: str) -> None:
    here = Machine(None, None, {})
    assert unreached(f"{mirror}/file", here) is None
    assert (
        unreached(f"{mirror}/other", here) == f"{mirror}/other can't be read: HTTP Error 404: File not found"
    )
    proxied = Machine("http://127.0.0.1:1", None, {})
    assert "refused" in str(unreached(f"{mirror}/file", proxied)), "it is asked as programs here ask it"


def test_a_mirror_is_needed_for_an_image_that_is_not_there(tmp_path: Path) -> None:
    nowhere = Machine("http://127.0.0.1:1", None, {})
    [why] = unavailable(tmp_path, nowhere)
    assert "the base image is not built yet, and http://" in why
    (tmp_path / f"{SUITE}-{recipe()}").mkdir()
    assert unavailable(tmp_path, nowhere) == []


def test_each_test_of_hosts_runs_in_one_half_and_a_file_that_is_named_alone() -> None:
    marked = {
        str(each.relative_to(PROJECT))
        for each in (PROJECT / "tests").rglob("test_*.py")
        if "pytest.mark.fleet" in each.read_text() and each != Path(__file__)
    }
    first, second = halves(["-x"])
    assert sorted([*first[:-1], *second[:-1]]) == sorted(marked), "no file has another name"
    assert first[-1] == second[-1] == "-x"
    assert len(first[:-1]) == len(FIRST)
    assert halves(["tests/lab/test_fleet_hosts.py::test_one", "-x"]) == [
        ["tests/lab/test_fleet_hosts.py::test_one", "-x"]
    ]


def test_a_half_without_tests_is_no_failure() -> None:
    assert [verdict(each) for each in ([0, 0], [0, 5], [5, 0], [5, 5], [1, 0], [0, 2], [5, 3])] == [
        *(0, 0, 0, 5),
        *(1, 2, 3),
    ]
