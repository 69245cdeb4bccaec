"""What a reader of a run's records must know of the machine that made them, and of its software."""

from __future__ import annotations

import os
import platform
import time
from contextlib import suppress
from typing import Any

from kon.core.distribution import version


def context() -> dict[str, Any]:
    """This machine and its software, as `run.json` keeps them."""
    return {
        "kon": version(),
        "python": platform.python_version(),
        "system": system(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "host": platform.node(),
        "started_s": time.time(),
    }


def system() -> str:
    """The system and its C library, as `platform.platform()` names them.

    That starts a process, to ask for the processor, which it leaves out then.
    """
    with suppress(AttributeError, ValueError, OSError):  # no glibc
        name, _, release = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
        if name == "glibc" and release:
            here = os.uname()
            return f"{here.sysname}-{here.release}-{here.machine}-with-{name}{release}"
    return platform.platform()
