"""The tests on another Debian's Python: a root of that suite, what is committed, and `make test` in it.

`python -m tests.lab.pythons [--can] [SUITE [PYTEST ARGUMENT ...]]`: trixie has Python 3.13, forky 3.14.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.lab.addresses import lab_home
from tests.lab.image import MIRROR
from tests.lab.machine import Machine, this_machine, unreached

PROJECT: Final = Path(__file__).parents[2]

SUITE: Final = "trixie"

PACKAGES: Final = ("ca-certificates", "git", "make", "python3", "python3-venv", "procps", "libfribidi0")
"""What set-up needs, and the tests next to Python: `ps`, and text from right to left in videos."""

WHICH: Final = ("-m", "not slow and not fleet")
"""The long tests too."""

QUICK: Final = (
    *WHICH,
    "tests/core",
    "tests/experiment",
    "tests/strategies",
    "tests/engine",
    "tests/kinds",
    "tests/backends",
    "tests/report",
    "tests/api",
    "tests/test_wheel.py",
)
"""What meets most of Python: event loops, processes, sockets, SQLite, packages. Some minutes on two cores."""

SCRIPT: Final = "sid"
"""debootstrap's script for a suite that is younger than it: the same steps make each of today's suites."""

CANT: Final = 2
TOOLS: Final = ("debootstrap", "git", "unshare", "chroot")

_IN_ROOT: Final = """
set -e
mount --make-rprivate /
mount -t proc proc "$0/proc"
mount --rbind /dev "$0/dev"
mount --rbind /sys "$0/sys"
exec chroot "$0" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 sh -ec "$1"
"""


def missing(suite: str, machine: Machine) -> list[str]:
    """Why it can't be done here, a line for each reason; none where it can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return ["it needs Linux and root"]
    if tools := [tool for tool in TOOLS if shutil.which(tool) is None]:
        return [f"missing: {', '.join(tools)}; `make lab-tools` installs them"]
    trial = ["unshare", "--mount", "--pid", "--fork", "mount", "--make-rprivate", "/"]
    if (tried := subprocess.run(trial, capture_output=True, text=True)).returncode:
        return [f"this kernel, or the container around, refuses: {tried.stderr.strip()}"]
    if _root(suite).exists():
        return []
    why = unreached(f"{MIRROR}/dists/{suite}/InRelease", machine)
    return [f"the root of {suite} is not built yet, and {why}"] if why else []


def run(suite: str, arguments: list[str], machine: Machine) -> int:
    """The tests' exit code. Raises CalledProcessError where the root can't be made."""
    root = _root(suite)
    if not root.exists():
        _build(suite, root, machine)
    _settle(root, machine)
    words = shlex.join(arguments or QUICK)
    # those that fail once more, one at a time, as `make check` does
    rest = shlex.join(["-n", "0", *WHICH, "--last-failed", "--last-failed-no-failures", "none"])
    again = f"make test PYTEST=pytest ARGS={shlex.quote(rest)}"
    first = f"rm -rf .pytest_cache; python3 --version; make test ARGS={shlex.quote(words)}"
    inside = f"cd /root/kon; {first} || {again}"
    spaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", _IN_ROOT]
    return subprocess.run([*spaces, str(root), inside], stdin=subprocess.DEVNULL).returncode


def _root(suite: str) -> Path:
    return lab_home() / f"python-{suite}"


def _build(suite: str, root: Path, machine: Machine) -> None:
    """Takes a minute or two."""
    log, fresh = root.with_suffix(".log"), root.with_suffix(".being-built")
    print(f"building a root of Debian's {suite}; its log is {log}", flush=True)
    root.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(fresh, ignore_errors=True)
    proxy = {"http_proxy": machine.http_proxy} if machine.http_proxy else {}
    with log.open("wb") as output:
        subprocess.run(
            [
                "debootstrap",
                "--variant=minbase",
                f"--include={','.join(PACKAGES)}",
                suite,
                str(fresh),
                MIRROR,
                SCRIPT,
            ],
            stdout=output,
            stderr=output,
            env={**os.environ, **proxy},
            check=True,
        )
    fresh.rename(root)


def _settle(root: Path, machine: Machine) -> None:
    """How the root reaches the package index, and what is committed here. What was installed stays."""
    for name in ("etc/resolv.conf", "etc/hosts"):
        shutil.copy(f"/{name}", root / name)
    pip = dict(machine.pip)
    if machine.http_proxy:
        pip["proxy"] = machine.http_proxy
    if machine.certificates:
        shutil.copy(machine.certificates, root / "etc/ssl/certs/ca-certificates.crt")
        pip["cert"] = "/etc/ssl/certs/ca-certificates.crt"
    lines = "".join(f"{name} = {value}\n" for name, value in pip.items())
    (root / "etc/pip.conf").write_text(f"[global]\n{lines}")
    checkout = root / "root/kon"
    git = ["git", "-C", str(checkout)]
    if not checkout.exists():
        checkout.mkdir()
        subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "fetch", "--quiet", "--depth=1", f"file://{PROJECT}", "HEAD"], check=True)
    subprocess.run([*git, "reset", "--quiet", "--hard", "FETCH_HEAD"], check=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.lab.pythons", description="Tests on other Pythons."
    )
    parser.add_argument("--can", action="store_true", help="Only say whether it can be done here.")
    parser.add_argument("suite", nargs="?", default=SUITE, help="of Debian: trixie, forky")
    parser.add_argument("arguments", nargs="*", help="for pytest, after --; without any, the quick half")
    args = parser.parse_args()
    machine = this_machine()
    if wanting := missing(args.suite, machine):
        print("; ".join(wanting))
        return CANT
    if args.can:
        print("it can be done here")
        return 0
    return run(args.suite, args.arguments, machine)


if __name__ == "__main__":
    sys.exit(main())
