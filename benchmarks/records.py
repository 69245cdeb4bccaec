"""Where measurements are kept: a file of JSON lines for each state of machine and program.

The first line says what both were. A change of either begins another file, so that figures of
different programs or machines never meet in one table.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import sqlite3
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.experiment import Point, Record
from kon.core.distribution import version

ROOT: Final = Path(__file__).parent.parent
FOLDER: Final = Path(__file__).parent / "records"


class Context(msgspec.Struct, frozen=True):
    """Machine and program.

    priority: whether other programs share the cores with the benchmarks, or wait, as under `chrt --rr 1`.
    sources: a digest of what is measured, the benchmarks included.
    """

    machine: str
    cores: int
    memory_gb: int
    system: str
    priority: str
    python: str
    sqlite: str
    kon: str
    sources: str
    peers: dict[str, str]

    def key(self) -> str:
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()[:12]


def here(peers: dict[str, str] | None = None) -> Context:
    """peers: those that kon is measured against, with their versions."""
    return Context(
        machine=processor(),
        cores=os.cpu_count() or 1,
        memory_gb=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        system=f"{platform.system()} {platform.release()}",
        priority=priority(),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        sqlite=sqlite3.sqlite_version,
        kon=version(),
        sources=digest_of_sources(),
        peers=peers or {"huey": importlib.metadata.version("huey")},
    )


def priority() -> str:
    if not hasattr(os, "sched_getscheduler") or os.sched_getscheduler(0) == os.SCHED_OTHER:
        return "the usual one"
    return "above other programs, for kon and peers alike (`chrt --rr 1`)"


def processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    if platform.system() == "Darwin":
        asked = subprocess.run(
            ["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, check=False
        )
        return asked.stdout.strip() or platform.machine()
    return platform.processor() or platform.machine()


def digest_of_sources() -> str:
    digest = hashlib.sha256()
    for folder in ("kon", "strategies", "benchmarks"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


class Records:
    """The measurements of one context.

    part: of the page, whose records have a folder of their own; none for the page's first part.
    """

    def __init__(self, path: Path, context: Context, records: list[Record]) -> None:
        self.path = path
        self.context = context
        self.all = records

    @classmethod
    def of(cls, context: Context, part: str = "") -> Records:
        """Those of this machine and program; none yet, maybe."""
        path = FOLDER / part / f"{context.key()}.jsonl"
        return cls.read(path) if path.exists() else cls(path, context, [])

    @classmethod
    def read(cls, path: Path) -> Records:
        first, *lines = path.read_bytes().splitlines()
        context = msgspec.json.decode(first, type=Context)
        return cls(path, context, [msgspec.json.decode(line, type=Record) for line in lines])

    @classmethod
    def latest(cls, part: str = "") -> Records | None:
        """Those that were written last, of whatever context."""
        files = sorted((FOLDER / part).glob("*.jsonl"), key=lambda file: file.stat().st_mtime)
        return cls.read(files[-1]) if files else None

    def find(self, experiment: str, point: Point) -> Record | None:
        """The newest record of this measurement."""
        key = point.key()
        for record in reversed(self.all):
            if record.experiment == experiment and record.point.key() == key:
                return record
        return None

    def add(self, experiment: str, point: Point, figures: dict[str, object], load: float) -> Record:
        record = Record(
            experiment, point, figures, load, datetime.now().astimezone().isoformat("T", "minutes")
        )
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as file:
            if not self.all:
                file.write(msgspec.json.encode(self.context) + b"\n")
            file.write(msgspec.json.encode(record) + b"\n")
        self.all.append(record)
        return record
