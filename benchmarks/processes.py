"""What processes use, and may use. Imports nothing of kon's, as peers in another virtualenv use it too."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

CORES: Final = 2
"""That a service, a worker and a client share, wherever they are measured together."""


def share_cores(cores: int = CORES) -> int:
    """Keep this process, and all that it starts, to so many cores; how many it has then. Where a system
    can't do that, or has fewer, it has what it had."""
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    chosen = sorted(os.sched_getaffinity(0))[:cores]
    os.sched_setaffinity(0, chosen)
    return len(chosen)


def cpu_s_of(pid: int) -> float | None:
    """The CPU time of a live process, in seconds, in steps of a tick; None where there is no /proc."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
