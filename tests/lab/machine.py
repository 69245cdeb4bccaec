"""What the lab takes from the machine that it runs on: how that reaches package registries, and its tools."""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

TOOLS: Final = ("debootstrap", "ip", "setpriv", "ssh", "ssh-keygen", "unshare")

_CERTIFICATES: Final = (
    Path("/etc/ssl/certs/ca-certificates.crt"),
    Path("/etc/pki/tls/certs/ca-bundle.crt"),
)

_INDEXES: Final = ("index-url", "extra-index-url")

_PATH: Final = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"

_ANSWER_S: Final = 20.0

# A host in small: its disk, a device on it, its network.
_TRIAL: Final = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /mnt
cd /mnt
mkdir below above work disk
mount -t overlay overlay -o lowerdir=below,upperdir=above,workdir=work disk
mknod disk/null c 1 3
: >disk/null
ip link add trial type bridge
ip link add one type veth peer name other
"""


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
    tools = [tool for tool in TOOLS if shutil.which(tool, path=_PATH) is None]
    if tools:
        found.append(f"missing: {', '.join(tools)}; `make lab-tools` installs them")
    if unified_cgroups() is None:
        found.append("there is no cgroup2 file system")
    return found or _refused()


def unreached(url: str, machine: Machine) -> str | None:
    """Why a package server does not give a file; None where it does."""
    ways = urllib.request.ProxyHandler({"http": machine.http_proxy} if machine.http_proxy else {})
    try:
        with urllib.request.build_opener(ways).open(url, timeout=_ANSWER_S) as answer:
            answer.read(1)
    except (OSError, http.client.HTTPException) as error:
        return f"{url} can't be read: {error}"
    return None


def unified_cgroups() -> Path | None:
    """Where cgroup2 is mounted."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(place)
    return None


def _refused() -> list[str]:
    """What the kernel, or the container around, refuses of what hosts are made of. Nothing is left of it."""
    root = unified_cgroups()
    assert root is not None
    cgroup = root / f"kon-lab-{os.getpid()}-trial"
    try:
        cgroup.mkdir()
        cgroup.rmdir()
    except OSError as error:
        return [f"no cgroup can be made: {error}"]
    spaces = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    try:
        tried = subprocess.run(
            [*spaces, "sh", "-c", _TRIAL],
            env={**os.environ, "PATH": _PATH},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_ANSWER_S,
        )
    except subprocess.TimeoutExpired:
        return ["namespaces, as hosts need them, do not come up"]
    if tried.returncode != 0:
        said = tried.stderr.strip().splitlines() or [f"exit code {tried.returncode}"]
        return [f"this kernel, or the container around, does not let hosts be made: {said[-1]}"]
    return []


def _apt(option: str) -> str:
    return _said(["apt-config", "dump", "--format", "%v", option])


def _said(command: list[str]) -> str:
    """What a program prints; nothing where it is not there or fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""
