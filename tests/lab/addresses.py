"""The lab's address plan, and the names that follow from it."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import Final

NETWORK: Final = ipaddress.IPv4Network("10.77.0.0/16")
"""Instances with an address in it are hosts; others exist in the API alone."""

GATEWAY: Final = "10.77.0.1"
"""Where the command runs, and all servers of the lab listen."""

METADATA: Final = "169.254.169.254"

BRIDGE: Final = "kon-lab"

API_PORT: Final = 5000
DATA_PORT: Final = 4566
PROXY_PORT: Final = 3128

API_URL: Final = f"http://{GATEWAY}:{API_PORT}"
DATA_URL: Final = f"http://{GATEWAY}:{DATA_PORT}"
PROXY_URL: Final = f"http://{GATEWAY}:{PROXY_PORT}"

REGION: Final = "us-east-1"

PREFIX: Final = "kon-lab-"
"""What the names of all that the lab makes outside its namespaces begin with; its process id follows."""


def is_in_lab(address: str) -> bool:
    """Whether an instance with this address is to be a host."""
    ip = ipaddress.IPv4Address(address)
    return ip in NETWORK and address != GATEWAY


def host_name(address: str) -> str:
    """As Amazon names a host: ip-10-77-0-4."""
    return f"ip-{address.replace('.', '-')}"


def namespace_name(instance_id: str) -> str:
    """Short enough for a network interface, with a letter before it: 15 bytes at most."""
    return instance_id[-10:]


def lab_home() -> Path:
    """Where the base image is kept between runs: KON_LAB_HOME, or kon-lab in the user's cache folder."""
    if home := os.environ.get("KON_LAB_HOME"):
        return Path(home)
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "kon-lab"
