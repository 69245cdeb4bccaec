"""A fault of kon's own: what is kept of it, and what its user is told."""

from __future__ import annotations

import platform
import shlex
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Final

from kon.core.distribution import extras, reports, version
from kon.launch.context import system

PAGE: Final = "docs/troubleshooting.md"
"""What to send, and to whom, under "A fault of kon's own"."""


def told(error: BaseException) -> str:
    """Keep a file about an error and say where it is, and where to report it. Raises nothing."""
    try:
        kept = f"{_kept(error)} has the traceback and the versions: keep it."
    except OSError as failure:
        kept = f"Keep the lines above; no file could be written: {failure.strerror}."
    where = f"Report it at {reports()}; {PAGE}" if reports() else f"{PAGE} in kon's sources"
    return (
        "this is a fault of kon's own, not of yours. Nothing that was recorded is lost. "
        f"{kept} {where} says what to send."
    )


def _kept(error: BaseException) -> Path:
    lines = [
        f"kon {version()}, Python {platform.python_version()}, {system()}",
        *(f"{extra}: {_named(packages)}" for extra, packages in extras().items()),
        f"command: {shlex.join(sys.argv)}",
        "",
        "".join(traceback.format_exception(error)),
    ]
    with tempfile.NamedTemporaryFile("w", prefix="kon-fault-", suffix=".txt", delete=False) as file:
        file.write("\n".join(lines))
    return Path(file.name)


def _named(packages: dict[str, str | None]) -> str:
    return ", ".join(f"{name} {found or 'missing'}" for name, found in packages.items())
