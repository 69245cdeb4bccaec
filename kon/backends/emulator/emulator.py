"""Starting and ending an emulator, and what makes a program use it in place of Amazon."""

from __future__ import annotations

import http.client
import importlib.util
import os
import shutil
import site
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal, get_args

import msgspec

from kon.backends.emulator.strict import CONTROL, Settings, State
from kon.core.distribution import install
from kon.core.errors import BackendUnavailable, ConfigurationError
from kon.core.scratch import temporary_place

Kind = Literal["ministack", "moto"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

HOST: Final = "127.0.0.1"
"""Emulators take any credentials, so that nobody but this machine may reach them."""

REGION: Final = "us-east-1"

KEY_ID: Final = "test"
"""The access key, and the secret, in the variables: MiniStack checks links that are signed by no other. The
strict layer's policies may bind it."""

START_S: Final = 60.0
"""How long a server may take to answer for the first time, in seconds."""

_POLL_S: Final = 0.02
_BACKLOG: Final = 256
_NEEDS: Final[dict[Kind, tuple[str, ...]]] = {
    "ministack": ("ministack", "hypercorn"),
    "moto": ("moto", "werkzeug", "flask", "flask_cors"),
}
_HEALTH: Final[dict[Kind, str]] = {"ministack": "/_ministack/health", "moto": "/moto-api/data.json"}

_NO_FILE: Final = os.devnull

# Any of these would lead a program past the emulator, or to credentials that are not for it.
_STRAY_PREFIX: Final = "AWS_"
_STRAY: Final = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN")
_PROXIES: Final = ("NO_PROXY", "no_proxy")

# Meant for other servers, or for this program; either of them may have one behave otherwise, or not start.
_SETTINGS: Final = ("AWS_", "MINISTACK_", "LOCALSTACK_", "MOTO_", "SFTP_", "IOT_")
_MORE_SETTINGS: Final = ("SERVICES", "EDGE_PORT", "PYTHONWARNINGS")


class Emulator:
    """A server that is up. `endpoint`: its URL. `pid`: of its process."""

    def __init__(self, kind: Kind, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.kind: Final = kind
        self.port: Final = port
        self.endpoint: Final = f"http://{HOST}:{port}"
        self.pid: Final = process.pid
        self.log: Final = log
        self._process = process

    @property
    def environment(self) -> dict[str, str]:
        """The variables that lead boto3, and Amazon's other clients, to it."""
        return variables(self.endpoint)

    def stray_names(self) -> list[str]:
        """The variables that have to go: profiles and tokens, and what else of the kind is set here."""
        mine = self.environment
        set_here = {name for name in os.environ if name.startswith(_STRAY_PREFIX)}
        return sorted((set_here | {*_STRAY}) - mine.keys())

    def applied(self, environment: Mapping[str, str]) -> dict[str, str]:
        """A whole environment in which programs use the emulator and nothing else of Amazon's."""
        kept = {name: value for name, value in environment.items() if not name.startswith(_STRAY_PREFIX)}
        return {**kept, **self.environment}

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Within it, this process and those that it starts use the emulator."""
        before = dict(os.environ)
        after = self.applied(before)
        _replace_environment(after)
        try:
            yield
        finally:
            _replace_environment(before)

    def set_strict(self, settings: Settings) -> None:
        """Have the strict layer go by other settings from here on; what it remembers stays."""
        self._control("set", msgspec.json.encode(settings))

    def reset_strict(self) -> None:
        """Have the strict layer forget what it remembers; its settings stay."""
        self._control("reset")

    def strict_state(self) -> State:
        """What the strict layer has seen since the last reset."""
        return msgspec.json.decode(self._control("state"), type=State)

    def _control(self, page: str, body: bytes = b"") -> bytes:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=START_S)
        try:
            connection.request("POST", f"{CONTROL}{page}", body)
            reply = connection.getresponse()
            said = reply.read()
        finally:
            connection.close()
        if reply.status != 200:
            raise ConfigurationError(f"the emulator's strict layer refuses that: {said.decode()}")
        return said

    def is_up(self) -> bool:
        """Whether its process is there."""
        return self._process.poll() is None

    def last_words(self) -> str:
        """The last line of its log, for an error."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return f'its last words: "{lines[-1]}"' if lines else "it said nothing"


def variables(endpoint: str) -> dict[str, str]:
    """Those that lead Amazon's clients to a server of this machine, and to no credentials but its own."""
    around = [os.environ.get(name, "") for name in _PROXIES]
    direct = ",".join(dict.fromkeys([*filter(None, around), HOST]))
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": KEY_ID,
        "AWS_SECRET_ACCESS_KEY": KEY_ID,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        # profiles, and endpoints of single services, stand in these files too
        "AWS_CONFIG_FILE": _NO_FILE,
        "AWS_SHARED_CREDENTIALS_FILE": _NO_FILE,
        **dict.fromkeys(_PROXIES, direct),
    }


@contextmanager
def started(
    kind: Kind = "ministack",
    port: int | None = None,
    *,
    strict: Settings | None = None,
) -> Iterator[Emulator]:
    """An emulator that answers, until the block ends.

    It ends with this process too, however that ends. port: of 127.0.0.1; None for any that is free.
    strict: of the strict layer; None leaves the emulator as lenient as it is.
    Raises ConfigurationError where it is not installed or the port is taken, BackendUnavailable where it
    does not come up.
    """
    _check_installed(kind)
    # The server gets a socket that is bound already, so that no other program can take its port meanwhile.
    bound = _bound(port)
    folder = Path(tempfile.mkdtemp(prefix="kon-emulator-", dir=temporary_place()))
    log = folder / f"{kind}.log"
    try:
        with bound, log.open("wb") as output:
            at: int = bound.getsockname()[1]
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "kon.backends.emulator.server",
                    kind,
                    str(bound.fileno()),
                    str(folder),
                    "-" if strict is None else msgspec.json.encode(strict).decode(),
                ],
                # It reads this pipe and ends with it; the pipe ends with the last process that holds it.
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                pass_fds=[bound.fileno()],
                env=server_environment(kind, at, folder),
                cwd=folder,
                start_new_session=True,  # Ctrl-C is for the program that uses it
            )
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError):
            raise ConfigurationError(f"the emulator {kind} can't be started: {error.strerror}") from error
        raise
    emulator = Emulator(kind, process, at, log)
    keep = False
    try:
        try:
            _wait_until_up(emulator)
        except BackendUnavailable:
            keep = True  # the message names the log
            raise
        yield emulator
    finally:
        process.kill()  # there is nothing in it to be saved
        process.wait()
        if process.stdin is not None:
            process.stdin.close()
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


def _check_installed(kind: Kind) -> None:
    if kind not in KINDS:
        raise ConfigurationError(f'there is no emulator "{kind}" (known: {", ".join(KINDS)})')
    missing = [name for name in _NEEDS[kind] if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"the emulator {kind} is not installed ({', '.join(missing)} can't be imported by "
            f"{sys.executable}); install it with: {install('emulator')}"
        )


def _bound(port: int | None) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((HOST, port or 0))
        bound.listen(_BACKLOG)
    except OSError as error:
        bound.close()
        raise ConfigurationError(
            f"port {port} of {HOST} can't be had: {error.strerror}; name another, or none for any"
        ) from error
    return bound


def server_environment(kind: Kind, port: int, folder: Path) -> dict[str, str]:
    """What an emulator's own process has in its environment: nothing that leads it out of `folder`."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_SETTINGS) and name not in _MORE_SETTINGS
    }
    own = {
        # Whatever it writes is in a folder that goes with it; what it is made of may be in the user's.
        "HOME": str(folder),
        "PYTHONUSERBASE": site.getuserbase(),
        "TMPDIR": str(folder),
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    if kind == "moto":
        return {**environment, **own, "MOTO_PORT": str(port)}
    return {
        **environment,
        **own,
        "GATEWAY_PORT": str(port),
        "BIND_HOST": HOST,
        "MINISTACK_HOST": HOST,  # in the queues' URLs
        "MINISTACK_REGION": REGION,
        "STATE_DIR": str(folder / "state"),
        "S3_DATA_DIR": str(folder / "s3"),
        "PERSIST_STATE": "0",
        "S3_PERSIST": "0",
        "LOG_LEVEL": "WARNING",
        "AUTH": "false",
        "USE_SSL": "",
        # It would open a second port, and tidy up containers of this machine.
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "DOCKER_HOST": f"unix://{folder}/no-docker.sock",
    }


def _wait_until_up(emulator: Emulator) -> None:
    give_up_s = time.monotonic() + START_S
    while not _answers(emulator):
        if not emulator.is_up():
            raise _not_up(emulator, "ended as soon as it was started")
        if time.monotonic() > give_up_s:
            raise _not_up(emulator, f"does not answer after {START_S:.0f} s")
        time.sleep(_POLL_S)


def _answers(emulator: Emulator) -> bool:
    # http.client, which knows nothing of proxies
    connection = http.client.HTTPConnection(HOST, emulator.port, timeout=5.0)
    try:
        connection.request("GET", _HEALTH[emulator.kind])
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _not_up(emulator: Emulator, what: str) -> BackendUnavailable:
    return BackendUnavailable(
        f"the emulator {emulator.kind} {what}; {emulator.last_words()} (its log: {emulator.log})"
    )


def _replace_environment(wanted: Mapping[str, str]) -> None:
    for name in os.environ.keys() - wanted.keys():
        del os.environ[name]
    os.environ.update(wanted)
