"""kon as it is installed: its distribution's name, its version, and how an extra is installed.

The distribution is called cloudkon, as "kon" is another project's on PyPI. Only this module knows that.
"""

from __future__ import annotations

import functools
import importlib.metadata
import re
from typing import Final

NAME: Final = "cloudkon"


@functools.cache
def version() -> str:
    """The version that is installed. Raises importlib.metadata.PackageNotFoundError where none is."""
    return importlib.metadata.version(NAME)


def reports() -> str:
    """The address where faults are reported: `Issues` of the project's URLs; empty where it names none."""
    for line in importlib.metadata.metadata(NAME).get_all("Project-URL") or ():
        label, _, url = line.partition(", ")
        if label == "Issues":
            return str(url)
    return ""


def install(extra: str) -> str:
    """The command that installs one of kon's extras. The brackets are quoted, as zsh wants it."""
    return f"pip install '{NAME}[{extra}]' (in a checkout: pip install -e '.[{extra}]')"


_NEEDED: Final = re.compile(r"""([A-Za-z0-9._-]+)(?:\[.*?\])?[^;]*;.*\bextra == ["']([^"']+)["']""")
"""A line of Requires-Dist that belongs to an extra, such as `av>=16; extra == "animoto"`."""


def extras() -> dict[str, dict[str, str | None]]:
    """The packages of each extra with the versions that are installed; None for one that is not."""
    found: dict[str, dict[str, str | None]] = {}
    for line in importlib.metadata.requires(NAME) or ():
        if (needed := _NEEDED.match(line)) is not None:
            found.setdefault(needed[2], {})[needed[1]] = _installed(needed[1])
    return found


def _installed(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
