"""kon as it is installed: its distribution's name, its version, and how an extra is installed.

The distribution is called cloudkon, as "kon" is another project's on PyPI. Only this module knows that.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from kon.core.installed import version_of

NAME: Final = "cloudkon"


def version() -> str:
    """The version that is installed. Raises importlib.metadata.PackageNotFoundError where none is."""
    return version_of(NAME)


def reports() -> str:
    """The address where faults are reported: `Issues` of the project's URLs; empty where it names none."""
    import importlib.metadata

    for line in importlib.metadata.metadata(NAME).get_all("Project-URL") or ():
        label, _, url = line.partition(", ")
        if label == "Issues":
            return str(url)
    return ""


def install(extra: str) -> str:
    """The command that adds one of kon's extras to this installation: by the program that made it, from
    where kon was had. The brackets are quoted, as zsh wants it."""
    import importlib.metadata
    import json

    try:
        said = importlib.metadata.distribution(NAME).read_text("direct_url.json")
        origin = json.loads(said or "{}")
    except (importlib.metadata.PackageNotFoundError, ValueError):
        origin = {}
    return f"{_installer(Path(sys.prefix))} {_wanted(origin, extra)}"


def _wanted(origin: Mapping[str, Any], extra: str) -> str:
    """origin: what PEP 610 records of an installation that was not by name; empty for one that was."""
    what, url = f"{NAME}[{extra}]", origin.get("url", "")
    if origin.get("dir_info", {}).get("editable"):
        return f"-e {shlex.quote(f'{unquote(urlsplit(url).path)}[{extra}]')}"
    # pip takes no requirement at git+file:///, but one at file:///
    if "vcs_info" in origin and urlsplit(url).scheme != "file":
        url = f"{origin['vcs_info']['vcs']}+{url}"
    return shlex.quote(f"{what} @ {url}" if url else what)


def _installer(prefix: Path) -> str:
    """pipx and uv keep a virtualenv for each program that they install, and pip is not on the path there."""
    match prefix.parts:
        case (*_, "pipx", "venvs", _):
            return "pipx install --force"
        case (*_, "uv", "tools", _):
            return "uv tool install --force"
    return "pip install"


_NEEDED: Final = re.compile(r"""([A-Za-z0-9._-]+)(?:\[.*?\])?[^;]*;.*\bextra == ["']([^"']+)["']""")
"""A line of Requires-Dist that belongs to an extra, such as `av>=16; extra == "animoto"`."""


def extras() -> dict[str, dict[str, str | None]]:
    """The packages of each extra with the versions that are installed; None for one that is not."""
    import importlib.metadata

    found: dict[str, dict[str, str | None]] = {}
    for line in importlib.metadata.requires(NAME) or ():
        if (needed := _NEEDED.match(line)) is not None:
            found.setdefault(needed[2], {})[needed[1]] = _installed(needed[1])
    return found


def _installed(package: str) -> str | None:
    import importlib.metadata

    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
