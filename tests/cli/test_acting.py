"""What the live page has done to a run, asked for over HTTP as its script asks."""

from __future__ import annotations

import asyncio
import errno
import gc
import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from kon.engine.records.records import RunFolder
from kon.launch.page import Acts
from tests.cli.given import invoke, write
from tests.cli.test_serve import started

TALKS = """\
name: talks
workload: {kind: shell, command: 'echo begun {}; echo aside >&2; sleep 120', items: [1, 2]}
workers: [1]
slots: 1
"""

FAILS = """\
name: fails
workload: {kind: shell, command: 'test -e mended && echo {}', items: [1, 2]}
attempts: 1
"""


class Page:
    """What a browser holds that has opened the link."""

    def __init__(self, link: str, *, opened: bool = True) -> None:
        self.here = "http://{0.hostname}:{0.port}".format(urlsplit(link))
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
        if opened:
            self._opener.open(link, timeout=30).close()

    def asks(self, path: str, method: str = "POST", origin: str | None = None) -> tuple[int, str]:
        headers = {"Origin": origin or self.here}
        request = urllib.request.Request(f"{self.here}{path}", method=method, headers=headers)
        try:
            with self._opener.open(request, timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()


@contextmanager
def page(folder: Path) -> Iterator[str]:
    with started("serve", cwd=folder) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip()


def until(so: Callable[[], Any]) -> Any:
    give_up_s = time.monotonic() + 90
    while not (found := so()):
        assert time.monotonic() < give_up_s, "it does not come"
        time.sleep(0.1)
    return found


@pytest.mark.timeout(240)
@pytest.mark.long
def test_a_tasks_output_is_read_while_it_runs_and_the_run_is_cancelled(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "results/talks/talks-lease-w1-r1")
    with started("run", write(tmp_path, TALKS), cwd=tmp_path) as running:
        until(lambda: folder.exists)
        with page(tmp_path) as link:
            may = Page(link)
            ask = f"/output?run={folder.path.name}&task=0"
            said = until(lambda: json.loads(may.asks(ask)[1]))
            assert said == {"stdout": "begun 1\n", "stderr": "aside\n"}
            assert may.asks(f"/output?run={folder.path.name}&task=1") == (200, "null"), "it does not run yet"
            assert not (folder.path / "peek").exists(), "nothing is left of the question"
            assert may.asks(f"/output?run={folder.path.name}&task=../0")[0] == 400
            status, told = may.asks(f"/cancel?run={folder.path.name}")
            assert (status, "is cancelled" in told) == (200, True)
            running.terminate()  # the task that runs may end, which takes two minutes
            running.communicate(timeout=60)


@pytest.mark.timeout(240)
def test_what_failed_is_run_again_by_a_client_of_its_own(tmp_path: Path) -> None:
    file = write(tmp_path, FAILS)
    assert invoke("run", file).exit_code == 1
    folder = RunFolder(tmp_path / "results/fails/fails-lease-w1-r1")
    (tmp_path / "mended").touch()
    with page(tmp_path) as link:
        may = Page(link)
        assert may.asks("/cancel?run=fails-lease-w1-r1")[0] == 409, "it is over"
        status, told = may.asks("/retry?run=fails-lease-w1-r1")
        assert (status, "runs again" in told) == (200, True), told
        until(lambda: folder.finished and folder.read_summary()["done"] == 2)
        assert "of 2 done" in until((tmp_path / "results/fails/.retry.log").read_text)
        status, told = until(
            lambda: found if "at work" not in (found := may.asks("/retry?run=fails-lease-w1-r1"))[1] else None
        )
        assert (status, "every task of fails-lease-w1-r1 is done" in told) == (409, True)
    assert invoke("run", file).exit_code == 0, "the log is not taken for a run"


@pytest.mark.timeout(120)
def test_the_client_that_runs_it_again_outlives_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From Python 3.12 on, asyncio kills the processes that a loop has started once that loop is gone."""
    monkeypatch.chdir(tmp_path)
    folder = RunFolder(tmp_path / "results/fails/fails-lease-w1-r1")
    assert invoke("run", write(tmp_path, FAILS)).exit_code == 1
    (tmp_path / "mended").touch()
    asyncio.run(Acts().retry(folder))
    gc.collect()
    until(lambda: folder.finished and folder.read_summary()["done"] == 2)


@pytest.mark.timeout(120)
def test_a_run_whose_client_cant_be_started_stays_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = RunFolder(tmp_path / "results/fails/fails-lease-w1-r1")
    assert invoke("run", write(tmp_path, FAILS)).exit_code == 1
    log = tmp_path / "results/fails/.retry.log"
    log.mkdir()
    with pytest.raises(IsADirectoryError):
        asyncio.run(Acts().retry(folder))
    assert folder.finished
    log.rmdir()
    before = folder.read_summary()

    def fails(*args: object, **options: object) -> None:
        raise OSError(errno.EAGAIN, "no process to be had")

    monkeypatch.setattr(subprocess, "Popen", fails)
    with pytest.raises(OSError, match="no process to be had"):
        asyncio.run(Acts().retry(folder))
    assert folder.read_summary() == before


@pytest.mark.timeout(120)
def test_nobody_acts_but_the_page_that_the_link_opened(tmp_path: Path) -> None:
    assert invoke("run", write(tmp_path, FAILS)).exit_code == 1
    (tmp_path / "mended").touch()
    with page(tmp_path) as link:
        for path in (
            "/retry?run=fails-lease-w1-r1",
            "/cancel?run=fails-lease-w1-r1",
            "/output?run=fails-lease-w1-r1&task=0",
        ):
            assert Page(link, opened=False).asks(path)[0] == 403, "another account of this machine"
            assert Page(link).asks(path, origin="http://localhost:1")[0] == 403, (
                "another site in that browser"
            )
            assert Page(link).asks(path, method="GET")[0] == 405
        assert Page(link).asks("/retry?run=nobody")[0] == 404
        assert json.loads(Page(link).asks("/may-act", method="GET")[1]) == {"may": True}
        assert json.loads(Page(link, opened=False).asks("/may-act", method="GET")[1]) == {"may": False}
    assert RunFolder(tmp_path / "results/fails/fails-lease-w1-r1").finished, "nothing was done"
