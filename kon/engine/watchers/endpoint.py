"""The endpoint: serves the metrics of one process, for as long as its workers work."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kon.core.errors import ConfigurationError
from kon.core.plugins import backend_class
from kon.core.spec import RunSpec
from kon.engine.watchers.address import Address
from kon.engine.watchers.meter import Meter

if TYPE_CHECKING:
    from kon.core.backend import Backend
    from kon.engine.worker import Worker


@contextmanager
def serving(
    address: Address, spec: RunSpec, meter: Meter, workers: Sequence[Worker], backend: Backend
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
            "its extra `metrics`: pip install 'kon[metrics]'"
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
