"""The endpoint: serves the metrics of one process, while its workers work, at an address of its own."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from kon.core.distribution import install
from kon.core.errors import ConfigurationError
from kon.core.plugins import backend_class
from kon.core.spec import RunSpec
from kon.engine.watchers.meter import EventMeter

if TYPE_CHECKING:
    from kon.core.backend import Backend
    from kon.engine.worker import Worker


METRICS: Final = "KON_METRICS"
"""The environment variable that asks for metrics, of every worker process that is started below it."""

LOOPBACK: Final = "127.0.0.1"

_LAST_PORT: Final = 65_535


class Address(NamedTuple):
    """host: a name or address of this machine, which decides who can reach it."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Reads `PORT` (on this machine alone), `HOST:PORT` or `[IPV6]:PORT`. Raises ConfigurationError."""
        host, colon, port = text.strip().rpartition(":")
        bare = host.removeprefix("[").removesuffix("]")
        if (colon and not bare) or (":" in bare) != host.startswith("["):
            raise _unfit(text)
        if not (port.isascii() and port.isdecimal() and 0 < int(port) <= _LAST_PORT):
            raise _unfit(text)
        return cls(bare or LOOPBACK, int(port))

    def of(self, number: int) -> Address:
        """Address of worker process `number` on this machine, from 0. Raises ConfigurationError."""
        if self.port + number > _LAST_PORT:
            raise ConfigurationError(
                f"--metrics: worker process {number + 1} would serve its metrics on port {self.port} + "
                f"{number}, and {_LAST_PORT} is the last there is; take a lower port"
            )
        return self._replace(port=self.port + number)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def asked_for(environment: Mapping[str, str] = os.environ) -> Address | None:
    """Where the environment asks for metrics, if it does. Raises ConfigurationError."""
    text = environment.get(METRICS)
    return Address.parse(text) if text else None


@contextmanager
def serving(
    address: Address, spec: RunSpec, meter: EventMeter, workers: Sequence[Worker], backend: Backend
) -> Iterator[None]:
    """Serve at this address. Raises ConfigurationError where that can't be.

    The library's own server, on a thread of its own: a worker whose loop is busy is worth looking at, too.
    """
    check_installed()
    from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server

    from kon.engine.watchers.collector import WorkerCollector

    registry = CollectorRegistry()
    registry.register(WorkerCollector(spec, meter, workers, backend))
    ProcessCollector(registry=registry)
    try:
        server, thread = start_http_server(address.port, address.host, registry)
    except OSError as error:
        raise _cant_serve(address, error) from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def check_installed() -> None:
    """Raises ConfigurationError where the library that makes metrics of them is not there."""
    try:
        import prometheus_client  # noqa: F401
    except ImportError as error:
        raise ConfigurationError(
            "--metrics needs the package prometheus-client, which is not installed here; install kon with "
            f"its extra `metrics`: {install('metrics')}"
        ) from error


def check_reach(backend: str) -> None:
    """Raises ConfigurationError for a backend whose workers are simulated: there is nothing to look at."""
    if backend_class(backend).virtual_time:
        raise ConfigurationError(
            f"--metrics: the workers of the backend {backend} are simulated, in virtual time, and nobody can "
            "look at them meanwhile; `kon report` draws their records"
        )


def _cant_serve(address: Address, error: OSError) -> ConfigurationError:
    if error.errno == errno.EADDRINUSE:
        return ConfigurationError(
            f"--metrics: port {address.port} of {address.host} is in use, by another worker or another "
            "program. Take another: each worker process on a host needs a port of its own, and they count up "
            "from the one that is given"
        )
    return ConfigurationError(f"--metrics: can't serve at {address}: {error.strerror or error}")


def _unfit(text: str) -> ConfigurationError:
    return ConfigurationError(
        f"--metrics (or {METRICS}): expected PORT, HOST:PORT or [IPV6]:PORT, with a port from 1 to "
        f'{_LAST_PORT}, found "{text}"'
    )
