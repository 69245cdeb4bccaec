"""What tests of metrics, logs and traces share."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from prometheus_client.parser import text_string_to_metric_families

from kon.engine.records.records import RunFolder
from tests.cli.given import KON

_Value = TypeVar("_Value")

LABELS: Final = {"run", "strategy", "kind", "backend"}


def free_ports(count: int) -> int:
    """The first of so many ports in a row that nobody has just now."""
    for port in range(20_000 + time.monotonic_ns() % 9_000, 32_000, count):
        if all(_is_free(port + number) for number in range(count)):
            return port
    raise AssertionError("no ports are free")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


class Scrape:
    """What an endpoint tells: samples by name, and by their labels beyond those that all have."""

    def __init__(self, port: int) -> None:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as reply:
            self.text = reply.read().decode()
        self.families = list(text_string_to_metric_families(self.text))
        self.samples = [sample for family in self.families for sample in family.samples]

    def __getitem__(self, name: str) -> float:
        return sum(sample.value for sample in self.samples if sample.name == name)

    def by(self, name: str, label: str) -> dict[str, float]:
        return {sample.labels[label]: sample.value for sample in self.samples if sample.name == name}


@contextmanager
def kon_at_work(*args: str | Path) -> Iterator[subprocess.Popen[str]]:
    """kon as a process of its own, which has ended when this does."""
    command = [*KON, *map(str, args)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                process.communicate(timeout=30)


def eventually(look: Callable[[], _Value], wanted: Callable[[_Value], bool], within_s: float = 60) -> _Value:
    """What is looked at, once it is as wanted, or after that time as it is then."""
    give_up_s = time.monotonic() + within_s
    while True:
        try:
            found = look()
        except OSError:
            if time.monotonic() > give_up_s:
                raise
        else:
            if wanted(found) or time.monotonic() > give_up_s:
                return found
        time.sleep(0.05)


def counted(folder: RunFolder, life: str) -> dict[str, int]:
    """The tasks in the events of one life of a worker, by event, and how often others happened."""
    sums: dict[str, int] = {}
    for name, line in folder.event_lines():
        if name == life:
            tasks = len(line.get("i", ())) + (line["r"][1] if "r" in line else 0)
            about = "i" in line or "r" in line
            sums[line["e"]] = sums.get(line["e"], 0) + (tasks if about else 1)
    return sums


def lives(folder: RunFolder, name: str) -> list[tuple[str, int]]:
    """The lives of a worker so far, each with the id of its process, in the order in which they began."""
    ups = [(line["t"], life, line["pid"]) for life, line in folder.event_lines() if line["e"] == "up"]
    return [(life, pid) for _, life, pid in sorted(ups) if life.startswith(f"{name}.")]


def json_lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]
