"""A look at this machine: what kon needs, what is there, and how to mend what is not."""

from __future__ import annotations

import datetime
import enum
import os
import platform
import resource
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, get_args

import msgspec

from kon.backends.prices import FILE, usual_prices
from kon.core.distribution import extras, install, version
from kon.core.errors import UnknownPlugin
from kon.core.plugins import Group, backend_class, kind_class, names, strategy_class

PYTHON: Final = (3, 11)
SQLITE: Final = (3, 24, 0)
"""The oldest that the backend sqlite works with."""

LITTLE_BYTES: Final = 1 << 30
LEAST_BYTES: Final = 100 << 20
"""Free space below which a run of any size is likely to end for want of it."""

OLD_PRICES_DAYS: Final = 366
"""Amazon changes prices rarely; by then it has types that the file does not know."""

FEW_FILES: Final = 1_024
FEW_PROCESSES: Final = 256

_REMOTE: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "afs", "ceph"})
"""File systems over a network, on which SQLite's write-ahead log does not work."""


class Level(enum.StrEnum):
    OK = "ok"
    WARN = "warn"  # something is missing that some runs need
    FAIL = "fail"  # kon can't work like this


class CheckResult(msgspec.Struct, frozen=True):
    """What one check found. mend: what to do about it; empty where nothing is to be done."""

    check: str
    level: Level
    found: str
    mend: str = ""


def examine(root: Path) -> list[CheckResult]:
    """All checks. root: where runs are to be recorded."""
    return [finding for check in _CHECKS for finding in check(root.absolute())]


def _software(root: Path) -> Iterator[CheckResult]:
    found = f"kon {version()}, Python {platform.python_version()} ({sys.executable})"
    if sys.version_info < PYTHON:
        yield CheckResult("python", Level.FAIL, found, "install Python 3.11 or newer, then kon again")
    else:
        yield CheckResult("python", Level.OK, found)
    found = f"SQLite {sqlite3.sqlite_version}"
    if sqlite3.sqlite_version_info < SQLITE:
        wanted = ".".join(map(str, SQLITE))
        mend = f"the backend sqlite needs {wanted} or newer: take a Python that was built with it"
        yield CheckResult("sqlite", Level.FAIL, found, mend)
    else:
        yield CheckResult("sqlite", Level.OK, found)


def _machine(root: Path) -> Iterator[CheckResult]:
    found = f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs"
    if sys.platform in ("linux", "darwin"):
        yield CheckResult("machine", Level.OK, found)
    else:
        yield CheckResult("machine", Level.WARN, found, "kon is tested on Linux and macOS only")


def _disk(root: Path) -> Iterator[CheckResult]:
    place = root
    while not os.path.lexists(place):  # a link to nowhere is there: no folder can be made of its name
        place = place.parent
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        yield CheckResult(
            "results",
            Level.FAIL,
            f"{root}: can't be written: {error.strerror}",
            "make it writable for this user, or name another folder with --out",
        )
        return
    free_bytes = shutil.disk_usage(place).free
    found = f"{root}: writable, {free_bytes / 1e9:,.1f} GB free"
    if free_bytes < LITTLE_BYTES:
        level = Level.FAIL if free_bytes < LEAST_BYTES else Level.WARN
        mend = "a task takes some 200 bytes, and its result; make room, or name another folder with --out"
        yield CheckResult("results", level, found, mend)
    else:
        yield CheckResult("results", Level.OK, found)
    kind = _file_system(place)
    if kind in _REMOTE:
        mend = "the backend sqlite needs a disk of this machine: name a folder there with --out"
        yield CheckResult("disk", Level.FAIL, f"{place} is on a network file system ({kind})", mend)


def _scratch(root: Path) -> Iterator[CheckResult]:
    """Where tasks' temporary files go. Where TMPDIR is no use, Python takes another folder without a word."""
    wanted = os.environ.get("TMPDIR", "")
    mend = "have TMPDIR name a folder that this user may write, or unset it"
    try:
        used = tempfile.gettempdir()
    except OSError as error:
        yield CheckResult("scratch", Level.FAIL, str(error.strerror or error), mend)
        return
    if wanted and Path(used) != Path(wanted).absolute():
        yield CheckResult("scratch", Level.WARN, f"TMPDIR={wanted} can't be written: {used} is used", mend)
    else:
        yield CheckResult("scratch", Level.OK, f"{used}: {shutil.disk_usage(used).free / 1e9:,.1f} GB free")


def _file_system(place: Path) -> str:
    """The type of the file system of a folder, where the system tells; else empty."""
    try:
        mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    except OSError:
        return ""
    inside = [(len(point), kind) for _, point, kind, *_ in mounts if place.is_relative_to(point)]
    return max(inside)[1] if inside else ""


def _clock(root: Path) -> Iterator[CheckResult]:
    now_s, installed_s = time.time(), Path(__file__).stat().st_mtime
    found = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now_s))
    if now_s < installed_s:
        mend = "it is before kon was installed: set it, and have it kept by NTP"
        yield CheckResult("clock", Level.WARN, found, mend)
    else:
        yield CheckResult("clock", Level.OK, found)


def _limits(root: Path) -> Iterator[CheckResult]:
    for check, number, few, mend in (
        ("open files", resource.RLIMIT_NOFILE, FEW_FILES, "for many slots raise it: ulimit -n 4096"),
        ("processes", resource.RLIMIT_NPROC, FEW_PROCESSES, "for many workers raise it: ulimit -u 4096"),
    ):
        soft, hard = resource.getrlimit(number)
        if soft != resource.RLIM_INFINITY and soft < few:
            yield CheckResult(check, Level.WARN, f"at most {soft} (could be {hard})", mend)
        else:
            yield CheckResult(check, Level.OK, f"at most {'any' if soft == resource.RLIM_INFINITY else soft}")


def _shared_memory(root: Path) -> Iterator[CheckResult]:
    if sys.platform != "linux":
        return
    place = Path("/dev/shm")
    if place.is_dir() and os.access(place, os.W_OK):
        yield CheckResult("/dev/shm", Level.OK, f"{shutil.disk_usage(place).free / 1e9:,.1f} GB free")
    else:
        mend = "tasks that share memory between processes need it: mount -t tmpfs shm /dev/shm"
        yield CheckResult("/dev/shm", Level.WARN, "is not there, or can't be written", mend)


def _programs(root: Path) -> Iterator[CheckResult]:
    # a virtualenv's programs stand next to its Python, on the path or not
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    for program, mend in (
        ("ansible-playbook", "needed by playbooks/ only: make setup, or pip install ansible-core"),
        ("ffmpeg", "needed for videos only: install it with the system's package manager"),
    ):
        found = shutil.which(program, path=path)
        if found is None:
            yield CheckResult(program, Level.WARN, "is not installed", mend)
        else:
            yield CheckResult(program, Level.OK, found)


def _texts(root: Path) -> Iterator[CheckResult]:
    """What captions in Arabic or Hebrew need, where pictures can be made at all."""
    try:
        from PIL import features
    except ModuleNotFoundError:
        return
    if features.check("fribidi"):
        yield CheckResult("libfribidi", Level.OK, "captions from right to left")
    else:
        mend = "for captions from right to left: Debian's package libfribidi0"
        yield CheckResult("libfribidi", Level.WARN, "is not installed", mend)


def _extras(root: Path) -> Iterator[CheckResult]:
    for name, packages in extras().items():
        lacking = [package for package, found in packages.items() if found is None]
        if lacking:
            yield CheckResult(f"extra {name}", Level.WARN, f"lacks {', '.join(lacking)}", install(name))
        else:
            has = ", ".join(f"{package} {found}" for package, found in packages.items())
            yield CheckResult(f"extra {name}", Level.OK, has)


def _fleets(root: Path) -> Iterator[CheckResult]:
    """What playbooks for EC2 go by, where kon stands in a checkout with such."""
    project = Path(__file__).parents[2]
    if (project / "playbooks").is_dir():
        name = "collections"
        folder = project / ".cache/collections/ansible_collections/amazon/aws"
        if folder.is_dir():
            yield CheckResult(name, Level.OK, f"amazon.aws {_version(folder)}".rstrip())
        else:
            mend = "needed by playbooks for EC2 only: make collections"
            yield CheckResult(name, Level.WARN, "amazon.aws is not installed", mend)
    prices = usual_prices()
    age_days = (datetime.date.today() - datetime.date.fromisoformat(prices.date)).days
    found = f"{prices.label}: {age_days} days old"
    if age_days > OLD_PRICES_DAYS:
        mend = f"compare it with Amazon's, and change {FILE}, or name another by --prices"
        yield CheckResult("prices", Level.WARN, found, mend)
    else:
        yield CheckResult("prices", Level.OK, found)


def _version(collection: Path) -> str:
    """The version of an installed collection of Ansible's; empty where it does not say."""
    try:
        about = msgspec.json.decode((collection / "MANIFEST.json").read_bytes())
        return str(about["collection_info"]["version"])
    except (OSError, msgspec.DecodeError, KeyError, TypeError):
        return ""


_FINDERS: Final[dict[str, Callable[[str], type]]] = {
    "kon.strategies": strategy_class,
    "kon.kinds": kind_class,
    "kon.backends": backend_class,
}


def _plugins(root: Path) -> Iterator[CheckResult]:
    for group in get_args(Group):
        what = group.removeprefix("kon.")
        known = names(group)
        for name in known:
            try:
                _FINDERS[group](name)
            except UnknownPlugin as error:
                mend = "mend or uninstall the package that registers it"
                yield CheckResult(what, Level.FAIL, str(error), mend)
                break
        else:
            if known:
                yield CheckResult(what, Level.OK, ", ".join(known))
            else:
                mend = "kon is not installed in this Python; for a checkout: make setup"
                yield CheckResult(what, Level.FAIL, "none is registered", mend)


_CHECKS: Final[tuple[Callable[[Path], Iterator[CheckResult]], ...]] = (
    _software,
    _machine,
    _disk,
    _scratch,
    _clock,
    _limits,
    _shared_memory,
    _programs,
    _texts,
    _extras,
    _fleets,
    _plugins,
)
