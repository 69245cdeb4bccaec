"""What the lab takes from the machine that it runs on: how that reaches package registries, and its tools."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

TOOLS: Final = ("debootstrap", "ip", "setpriv", "ssh", "ssh-keygen", "unshare")

_CERTIFICATES: Final = (
    Path("/etc/ssl/certs/ca-certificates.crt"),
    Path("/etc/pki/tls/certs/ca-bundle.crt"),
)

_INDEXES: Final = ("index-url", "extra-index-url")


class Machine(NamedTuple):
    """http_proxy: URL of the proxy that programs here go through, or None.

    certificates: the authorities that it trusts, or None. pip: settings that hold on a host too, by name.
    """

    http_proxy: str | None
    certificates: Path | None
    pip: Mapping[str, str]


def this_machine() -> Machine:
    """As its environment, and apt's and pip's own configuration, have it."""
    proxy = os.environ.get("http_proxy") or _apt("Acquire::http::Proxy") or None
    there = [path for path in _CERTIFICATES if path.is_file()]
    settings = _said([sys.executable, "-m", "pip", "config", "list"]).splitlines()
    return Machine(proxy, there[0] if there else None, pip_settings(settings))


def pip_settings(lines: Iterable[str]) -> dict[str, str]:
    """Of the lines of `pip config list`: the indexes that a host reaches as well, none of this machine's
    folders."""
    found = {}
    for line in lines:
        name, _, quoted = line.partition("=")
        option = name.rpartition(".")[2]
        urls = [word for word in quoted.strip("'\"").split() if word.startswith(("http://", "https://"))]
        if option in _INDEXES and urls:
            found[option] = " ".join(urls)
    return found


def missing() -> list[str]:
    """Why the lab can't run here, a line for each reason; none where it can."""
    if sys.platform != "linux":
        return [f"it needs Linux, and this is {sys.platform}"]
    found = [] if os.geteuid() == 0 else ["it needs root"]
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    tools = [tool for tool in TOOLS if shutil.which(tool, path=path) is None]
    if tools:
        found.append(f"missing: {', '.join(tools)}; `make lab-tools` installs them")
    if not _can_unshare(path):
        found.append("this kernel, or the container around, lets nobody make namespaces")
    if unified_cgroups() is None:
        found.append("there is no cgroup2 file system")
    return found


def unified_cgroups() -> Path | None:
    """Where cgroup2 is mounted."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(place)
    return None


def _can_unshare(path: str) -> bool:
    unshare = shutil.which("unshare", path=path)
    if unshare is None or os.geteuid() != 0:
        return True  # said already
    tried = subprocess.run(
        [unshare, "--net", "--mount", "--pid", "--fork", "true"], check=False, capture_output=True
    )
    return tried.returncode == 0


def _apt(option: str) -> str:
    return _said(["apt-config", "dump", "--format", "%v", option])


def _said(command: list[str]) -> str:
    """What a program prints; nothing where it is not there or fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""
