"""Amazon's side of the lab: moto for EC2, IAM, CloudWatch and SNS; MiniStack for SQS, DynamoDB and S3."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from tests.lab.addresses import DATA_PORT, DATA_URL, GATEWAY, REGION
from tests.lab.rights import rights

START_S: Final = 60.0

_BACKLOG: Final = 256

ROOT_KEY: Final = "testing"
"""The key, and its secret, of one who may do everything. MiniStack takes links that it has signed alone."""

DATA_SERVICES: Final = ("SQS", "DYNAMODB", "S3")


def variables(api_url: str, data_url: str | None = None, key_id: str = ROOT_KEY) -> dict[str, str]:
    """What leads boto3 to the servers. data_url: of the one that has the data services, if not the first.
    key_id: `operator` for one with the documented rights and no others."""
    own = {f"AWS_ENDPOINT_URL_{service}": data_url for service in DATA_SERVICES} if data_url else {}
    return {
        "AWS_ENDPOINT_URL": api_url,
        "AWS_ACCESS_KEY_ID": key_id,
        "AWS_SECRET_ACCESS_KEY": ROOT_KEY,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        **own,
    }


@contextmanager
def moto(address: str, port: int, log: Path) -> Iterator[str]:
    """Its URL, while it is up. port: 0 for any that is free."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.lab.moto_server", address, str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
            # the account that MiniStack has: kon asks whether a bucket is its own account's
            env={**_without_aws(), "MOTO_ACCOUNT_ID": "000000000000"},
            cwd=Path(__file__).parents[2],
        )
        try:
            assert process.stdout is not None
            said = process.stdout.readline().strip()
            if not said:
                raise RuntimeError(f"moto did not come up; its log: {log.read_text(errors='replace')}")
            yield f"http://{address}:{said}"
        finally:
            _end(process)


@contextmanager
def ministack(folder: Path) -> Iterator[str]:
    """Its URL, at the lab's own address, while it is up."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = {
        **_without_aws(),
        "AWS_ACCESS_KEY_ID": ROOT_KEY,
        "AWS_SECRET_ACCESS_KEY": ROOT_KEY,
        "GATEWAY_PORT": str(DATA_PORT),
        "BIND_HOST": GATEWAY,
        "MINISTACK_HOST": GATEWAY,
        "MINISTACK_REGION": REGION,
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "STATE_DIR": str(folder / "state"),
        "S3_DATA_DIR": str(folder / "s3"),
        "PERSIST_STATE": "0",
        "S3_PERSIST": "0",
        "LOG_LEVEL": "WARNING",
        "AUTH": "false",
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "DOCKER_HOST": f"unix://{folder}/no-docker.sock",
    }
    log = folder / "ministack.log"
    with socket.create_server((GATEWAY, DATA_PORT), backlog=_BACKLOG) as bound, log.open("wb") as output:
        settings = msgspec.json.encode(rights()).decode()
        words = ["kon.backends.emulator.server", "ministack", str(bound.fileno()), str(folder), settings]
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", *words],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            pass_fds=[bound.fileno()],
            env=environment,
            cwd=folder,
        )
    try:
        _wait_for(process, GATEWAY, DATA_PORT, "/_ministack/health", log)
        yield DATA_URL
    finally:
        _end(process)


def _wait_for(process: subprocess.Popen[bytes], address: str, port: int, path: str, log: Path) -> None:
    give_up_s = time.monotonic() + START_S
    while True:
        connection = http.client.HTTPConnection(address, port, timeout=5.0)
        try:
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                return
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        if process.poll() is not None or time.monotonic() > give_up_s:
            raise RuntimeError(f"{path} does not come up; its log: {log.read_text(errors='replace')}")
        time.sleep(0.05)


def _without_aws() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}


def _end(process: subprocess.Popen[bytes] | subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()
