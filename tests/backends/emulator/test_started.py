"""Emulators: up, told apart from Amazon, and gone without a trace."""

from __future__ import annotations

import os
import re
import signal
import site
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import boto3
import pytest

from kon.backends.emulator import KINDS, Emulator, Kind, started
from kon.backends.emulator import emulator as module
from kon.core.distribution import install
from kon.core.errors import BackendUnavailable, ConfigurationError

HOLDER = """\
import sys, time
from kon.backends.emulator import started
with started(sys.argv[1]) as emulator:
    print(emulator.pid, emulator.log.parent, flush=True)
    time.sleep(600)
"""

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest) -> Emulator:
    found: Emulator = request.getfixturevalue(request.param)
    return found


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_it_answers_whoever_takes_its_variables(server: Emulator) -> None:
    with server.in_use():
        queues: Any = boto3.client("sqs")
        url = queues.create_queue(QueueName=f"answers-{server.kind}")["QueueUrl"]
        queues.send_message(QueueUrl=url, MessageBody="hello")
        got = queues.receive_message(QueueUrl=url)["Messages"]
    assert url.startswith(server.endpoint)
    assert [each["Body"] for each in got] == ["hello"]


@linux
def test_no_other_machine_can_reach_it(server: Emulator) -> None:
    listening = [
        line.split()[1]
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/{server.pid}/net/{table}").read_text().splitlines()[1:]
        if line.split()[3] == "0A" and int(line.split()[1].rpartition(":")[2], 16) == server.port
    ]
    assert [each.rpartition(":")[0] for each in listening] == ["0100007F"]  # 127.0.0.1


def test_no_profile_token_or_other_endpoint_leads_past_it(
    ministack: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "AWS_PROFILE": "work",
        "AWS_SESSION_TOKEN": "real",
        "AWS_ENDPOINT_URL_SQS": "http://127.0.0.1:1",
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
        "HTTP_PROXY": "http://127.0.0.1:1",
        "http_proxy": "http://127.0.0.1:1",
    }.items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)
    with ministack.in_use():
        assert boto3.client("sqs").list_queues()["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert dict(os.environ) == before


@pytest.mark.parametrize("kind", KINDS)
def test_it_leaves_nothing_behind(kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "home").mkdir()
    with started(kind) as emulator:
        assert emulator.is_up()
        assert emulator.log.is_relative_to(tmp_path)
        with emulator.in_use():
            store: Any = boto3.client("s3")
            store.create_bucket(Bucket="leaves-nothing")
            store.put_object(Bucket="leaves-nothing", Key="k", Body=b"v")
    assert gone(emulator.pid)
    assert [path.name for path in tmp_path.rglob("*")] == ["home"]


@linux
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("kind", KINDS)
def test_it_ends_with_the_process_that_started_it(kind: Kind, number: signal.Signals) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, kind], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert holder.stdout is not None
    with holder, holder.stdout:
        pid, folder = holder.stdout.readline().split()
        assert not gone(int(pid))
        assert Path(folder).is_dir()
        holder.send_signal(number)
        holder.wait()
    give_up_s = time.monotonic() + 30
    while not (gone(int(pid)) and not Path(folder).exists()):
        assert time.monotonic() < give_up_s, "the server outlives the process that started it"
        time.sleep(0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_settings_of_other_programs_do_not_reach_it(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "PYTHONWARNINGS": "error",
        "SERVICES": "sns",
        "MINISTACK_ACCOUNT_ID": "999999999999",
        "MINISTACK_REGION": "eu-west-1",
        "MOTO_ACCOUNT_ID": "999999999999",
    }.items():
        monkeypatch.setenv(name, value)
    with started(kind) as emulator, emulator.in_use():
        queue: str = boto3.client("sqs").create_queue(QueueName="plain")["QueueUrl"]
    assert "999999999999" not in queue


def test_it_finds_what_is_installed_for_this_user_alone(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import site; print(site.getusersitepackages())"]
    environment = module.server_environment("moto", 1, tmp_path)
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == site.getusersitepackages()


def test_a_port_that_is_taken_is_refused_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"port {port} .* can't be had"):
            with started("ministack", port):
                raise AssertionError


def test_a_port_may_be_asked_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    with started("ministack", port) as emulator:
        assert emulator.endpoint == f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("kind", KINDS)
def test_where_it_is_not_installed_the_error_says_how_it_is(
    kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=re.escape(install("emulator"))):
        with started(kind):
            raise AssertionError


def test_one_that_does_not_come_up_is_told_with_its_log(monkeypatch: pytest.MonkeyPatch) -> None:
    real = module.server_environment

    def broken(kind: Kind, port: int, folder: Path) -> dict[str, str]:
        return {**real(kind, port, folder), "PYTHONHOME": "/nowhere"}

    monkeypatch.setattr(module, "server_environment", broken)
    with pytest.raises(BackendUnavailable, match="ended as soon as it was started") as caught:
        with started("ministack"):
            raise AssertionError
    log = Path(str(caught.value).rpartition("its log: ")[2].removesuffix(")"))
    assert "Python" in log.read_text()
    log.unlink()
    log.parent.rmdir()
