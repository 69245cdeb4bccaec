"""Where the metrics of workers are served: one address for each of their processes, port after port."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final, NamedTuple

from kon.core.errors import ConfigurationError

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
        """Of `PORT`, on this machine alone, `HOST:PORT` or `[IPV6]:PORT`. Raises ConfigurationError."""
        host, colon, port = text.strip().rpartition(":")
        bare = host.removeprefix("[").removesuffix("]")
        if (colon and not bare) or (":" in bare) != host.startswith("["):
            raise _unfit(text)
        if not (port.isascii() and port.isdecimal() and 0 < int(port) <= _LAST_PORT):
            raise _unfit(text)
        return cls(bare or LOOPBACK, int(port))

    def of(self, number: int) -> Address:
        """That of worker process `number` on this machine, from 0. Raises ConfigurationError."""
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


def _unfit(text: str) -> ConfigurationError:
    return ConfigurationError(
        f"--metrics (or {METRICS}): expected PORT, HOST:PORT or [IPV6]:PORT, with a port from 1 to "
        f'{_LAST_PORT}, found "{text}"'
    )
