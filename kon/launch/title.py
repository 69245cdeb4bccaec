"""The command line that Linux shows of a process (`ps`, /proc/PID/cmdline), changed from within.

kon tells its workers from other processes by it (see kon.launch.liveness), and so do people. A process that
was forked has its parent's. The new one is written over that, and is cut where it is longer: what follows in
memory is the environment.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

_MEMORY: Final = Path("/proc/self/mem")


def can_be(word: str) -> bool:
    """Whether this process can be given a command line that begins with this word."""
    try:
        begin, end = _place()
        with _MEMORY.open("r+b", buffering=0) as memory:
            memory.seek(begin)
            first = memory.read(1)
            memory.seek(begin)
            memory.write(first)
    except (OSError, ValueError, IndexError):
        return False
    return end - begin > len(word)


def give(words: Sequence[str]) -> None:
    """Give this process this command line. Does nothing where that can't be."""
    with suppress(OSError, ValueError, IndexError):
        begin, end = _place()
        text = b"".join(os.fsencode(word) + b"\0" for word in words)[: end - begin - 1]
        with _MEMORY.open("r+b", buffering=0) as memory:
            memory.seek(begin)
            memory.write(text.ljust(end - begin, b"\0"))


def name_as_python() -> None:
    """Give this process the short name of one that Python was started for (`ps -o comm`, `killall`)."""
    with suppress(OSError):
        Path("/proc/self/comm").write_bytes(os.fsencode(Path(sys.executable).name))


def _place() -> tuple[int, int]:
    """Where in this process's memory its command line begins and ends."""
    # pid (name) state ...; the name may hold anything. See proc(5), arg_start and arg_end.
    fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
    return int(fields[45]), int(fields[46])
