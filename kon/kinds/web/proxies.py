"""Proxies by the usual variables: http_proxy, https_proxy and no_proxy, in small or in capital letters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

from kon.core.errors import ConfigurationError
from kon.kinds.web.links import is_here

_SCHEMES: Final = ("http", "https")


class Proxies:
    """Says which proxy a link takes, if any. A link to this machine takes none."""

    def __init__(self, found: Mapping[str, str] | None = None) -> None:
        """found: proxies by scheme, and `no` for no_proxy; None for those of the environment.

        Raises ConfigurationError for one that is no link of http or https: links would go directly, where
        somebody wanted them to go through it.
        """
        self._found = dict(getproxies_environment() if found is None else found)
        for scheme in _SCHEMES:
            given = self._found.get(scheme)
            if not given:
                continue
            try:
                parts = urlsplit(given)
                good = parts.scheme in _SCHEMES and parts.hostname and (parts.port or 1)
            except ValueError:
                good = False
            if not good:
                raise ConfigurationError(
                    f"the variable {scheme}_proxy: expected a proxy such as http://proxy.example.com:3128, "
                    f"found {_without_password(given)!r:.100}. Correct or unset it on each host with workers"
                )

    def proxy_of(self, link: str) -> str | None:
        """The proxy that the link takes; None for a direct connection."""
        parts = urlsplit(link)
        host = parts.hostname or ""
        proxy = self._found.get(parts.scheme)
        if not proxy or is_here(host) or proxy_bypass_environment(_with_port(host, parts.port), self._found):
            return None
        return proxy


def _with_port(host: str, port: int | None) -> str:
    return host if port is None else f"{host}:{port}"


def _without_password(proxy: str) -> str:
    return proxy.rpartition("@")[2]
