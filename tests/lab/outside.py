"""The lab from outside: what it needs, its namespaces, the proxy, and that nothing is left of it."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Final

from tests.lab.addresses import PREFIX, lab_home
from tests.lab.image import base_image
from tests.lab.machine import missing, this_machine, unified_cgroups
from tests.lab.proxy import Proxy

CANT: Final = 2
"""Exit code where the lab can't run."""

_EMPTYING_S: Final = 5.0

# Each ends with the one before it. The shell is PID 1 of the lab, and reaps what hosts and connections leave.
_NAMESPACES: Final = (
    *("setpriv", "--pdeathsig", "KILL"),
    *("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
    *("sh", "-c", '"$@"; exit $?', "sh"),
)

_PROJECT: Final = Path(__file__).parents[2]


def run(command: Sequence[str]) -> int:
    """Run a command in the lab; its exit code. All of the lab ends with it, and with this process."""
    wanting = missing()
    if wanting:
        print(f"the lab can't run here: {'; '.join(wanting)}", file=sys.stderr)
        return CANT
    sweep_leftovers()
    machine = this_machine()
    image = base_image(lab_home(), machine)
    lab = f"{_within()}{os.getpid()}"
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{lab}-"))
    try:
        serving = Proxy(machine.http_proxy).serve(folder / "proxy")
        threading.Thread(target=asyncio.run, args=[serving], name="proxy", daemon=True).start()
        inside = subprocess.Popen(
            [*_NAMESPACES, sys.executable, "-m", "tests.lab.inside", lab, image, folder, "--", *command],
            cwd=_PROJECT,
        )

        def end(number: int, frame: FrameType | None) -> None:
            inside.kill()

        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, end)
        return inside.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        remove_cgroups(f"{PREFIX}{lab}-")


def sweep_leftovers() -> None:
    """Remove what labs have left whose process was killed: folders and empty cgroups. All else has ended
    with them. A lab within a lab sees no process outside, and sweeps what was left in there."""
    root = unified_cgroups()
    places = [*Path(tempfile.gettempdir()).glob(f"{PREFIX}*"), *(root.glob(f"{PREFIX}*") if root else [])]
    for place in places:
        lab = place.name.removeprefix(PREFIX).partition("-")[0]
        process = lab.removeprefix(_within()).partition(".")[0]  # one within it has ended with it
        is_seen = lab.startswith(_within()) and process.isdecimal()
        if is_seen and not Path(f"/proc/{process}").exists():
            if root is not None and place.is_relative_to(root):
                remove_cgroups(place.name)
            else:
                shutil.rmtree(place, ignore_errors=True)


def _within() -> str:
    """What the names of labs begin with in here: that of the lab around, if there is one."""
    around = os.environ.get("KON_LAB")
    return f"{around}." if around else ""


def remove_cgroups(prefix: str) -> None:
    """They outlive the namespaces: leaves first, once the last process has gone."""
    root = unified_cgroups()
    give_up_s = time.monotonic() + _EMPTYING_S
    while root is not None and time.monotonic() < give_up_s:
        left = [path for top in root.glob(f"{prefix}*") for path in (top, *top.rglob("*")) if path.is_dir()]
        if not left:
            return
        for path in sorted(left, reverse=True):
            try:
                path.rmdir()
            except OSError:
                time.sleep(0.02)  # a process in it is on its way out
