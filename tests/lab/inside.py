"""The lab from inside its namespaces: network, servers, hosts, and then the command.

`python -m tests.lab.inside LAB IMAGE PROXY -- COMMAND ...`, as `tests.lab.outside` starts it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from tests.lab import imds, proxy, servers
from tests.lab.addresses import (
    API_PORT,
    BRIDGE,
    GATEWAY,
    METADATA,
    NETWORK,
    PROXY_PORT,
    PROXY_URL,
)
from tests.lab.machine import this_machine
from tests.lab.reconciler import Reconciler


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("lab")
    parser.add_argument("image", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("command", nargs="+")
    args = parser.parse_args()
    runs: Path = args.folder / "hosts"
    _make_room(runs)
    _make_network()
    with (
        servers.moto(GATEWAY, API_PORT, args.folder / "moto.log") as api,
        servers.ministack(args.folder / "ministack") as data,
    ):
        os.environ.update(servers.variables(api, data))
        os.environ.update({"KON_LAB": args.lab, "KON_LAB_HOSTS": str(runs)})
        os.environ["PIP_PROXY"] = PROXY_URL  # the controller is in here as well
        reconciler = Reconciler(runs, args.image, this_machine(), args.lab)
        reconciler.start()
        metadata = imds.server((METADATA, 80), reconciler.find, imds.Tokens())
        threading.Thread(target=metadata.serve_forever, name="imds", daemon=True).start()
        _in_thread(proxy.relay(GATEWAY, PROXY_PORT, args.folder / "proxy"))
        return subprocess.run(args.command, check=False).returncode


def _make_room(runs: Path) -> None:
    """Disks in memory, and names of network namespaces that only the lab knows."""
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    runs.mkdir()
    named = Path("/run/netns")
    named.mkdir(exist_ok=True)
    for place in (runs, named):
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(place)], check=True)


def _make_network() -> None:
    commands = (
        f"link set lo up\nlink add {BRIDGE} type bridge\n"
        f"addr add {GATEWAY}/{NETWORK.prefixlen} dev {BRIDGE}\naddr add {METADATA}/32 dev {BRIDGE}\n"
        f"link set {BRIDGE} up\n"
    )
    subprocess.run(["ip", "-b", "-"], input=commands, text=True, check=True)


def _in_thread(serving: Coroutine[Any, Any, None]) -> None:
    threading.Thread(target=asyncio.run, args=[serving], name="relay", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
