"""What the tests of `kon map` share: it runs in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from kon.cli.group import kon as command_line
from tests import loaded

KON = [sys.executable, "-c", "from kon.cli import main; main()", "map"]


class Ended(NamedTuple):
    code: int
    out: bytes
    err: str


def kon_map(*words: str | bytes, stdin: bytes = b"", cwd: Path | None = None) -> Ended:
    """`kon map` in a process of its own, forked from one that has loaded it."""
    ended = subprocess.run(
        [*loaded.python(), "-m", "kon", "map", *words],
        input=stdin,
        capture_output=True,
        timeout=100,
        cwd=cwd,
        check=False,
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr.decode(errors="replace"))


def usage_error(*words: str) -> str:
    """What a command line that can't be used is answered, in this process."""
    with pytest.raises(SystemExit) as raised:
        command_line.main(["map", *words], prog_name="kon")
    assert raised.value.code == 2
    return ""


@contextmanager
def running(command: list[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A process that does not outlive a test that fails: to wait for it could take forever."""
    process = subprocess.Popen(command, **options)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
