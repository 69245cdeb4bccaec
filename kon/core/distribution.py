"""kon as it is installed: its distribution's name, its version, and how an extra is installed.

The distribution is called cloudkon, as "kon" is another project's on PyPI. Only this module knows that.

Other distributions register plug-ins for kon, and have versions. importlib.metadata knows both, but takes
50 ms of each start: it imports the parser of e-mails, and reads all distributions for each group. This module
looks through their folders once. Where there is anything but folders, such as a zip file, importlib.metadata
does it.
"""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Iterator, Mapping
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

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
    import shlex

    what, url = f"{NAME}[{extra}]", origin.get("url", "")
    if origin.get("dir_info", {}).get("editable"):
        return f"-e {shlex.quote(f'{unquote(urlsplit(url).path)}[{extra}]')}"
    if (vcs := origin.get("vcs_info")) is not None:
        if url.startswith("file:///"):  # pip takes no requirement without a host
            url = url.replace("file://", "file://localhost", 1)
        revision = vcs.get("requested_revision")
        url = f"{vcs['vcs']}+{url}" + (f"@{revision}" if revision else "")
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


_GROUPS: Final = ("kon.backends", "kon.kinds", "kon.strategies")


class InstalledEntry(NamedTuple):
    """A name that a distribution registers in a group, and what it stands for: `module:Class`."""

    group: str
    name: str
    value: str


class _Unusual(Exception):
    """There is something to look through that is no folder."""


class _Distribution(NamedTuple):
    """A distribution's folder of metadata, such as `cloudkon-0.1.0.dist-info`."""

    folder: str
    key: str
    version: str


@functools.cache
def entries() -> tuple[InstalledEntry, ...]:
    """All that is registered for kon. Where a distribution is on the path twice, the first counts."""
    try:
        return tuple(entry for each in _distributions() for entry in _entries_of(each.folder))
    except _Unusual:
        import importlib.metadata

        found = [each for group in _GROUPS for each in importlib.metadata.entry_points(group=group)]
        return tuple(InstalledEntry(each.group, each.name, each.value) for each in found)


_PLAIN_VERSION: Final = re.compile(r"[0-9]+(\.[0-9]+)*")
"""Others are written in another way in the name of a folder."""


def version_of(distribution: str) -> str:
    """Raises importlib.metadata.PackageNotFoundError where it is not installed."""
    try:
        key = _key(distribution)
        for each in _distributions():
            if each.key == key and _PLAIN_VERSION.fullmatch(each.version):
                return each.version
    except _Unusual:
        pass
    import importlib.metadata

    return importlib.metadata.version(distribution)


@functools.cache
def _distributions() -> tuple[_Distribution, ...]:
    """Raises _Unusual."""
    return tuple({each.key: each for each in reversed([*_on_path()])}.values())[::-1]


def _on_path() -> Iterator[_Distribution]:
    if any(hasattr(each, "find_distributions") for each in sys.meta_path if each is not PathFinder):
        raise _Unusual
    for place in dict.fromkeys(sys.path):
        if place.lower().endswith(".egg"):  # has its metadata inside
            raise _Unusual
        try:
            names = os.listdir(place or ".")  # noqa: PTH208 - names alone
        except FileNotFoundError:
            continue
        except OSError as error:
            raise _Unusual from error
        for name in names:
            if name.lower().endswith((".dist-info", ".egg-info")):
                distribution, _, version = name.rpartition(".")[0].partition("-")
                yield _Distribution(f"{place or '.'}/{name}", _key(distribution), version)


def _key(distribution: str) -> str:
    """One spelling for all that mean one distribution."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _entries_of(folder: str) -> Iterator[InstalledEntry]:
    try:
        with open(f"{folder}/entry_points.txt", encoding="utf-8") as file:  # noqa: PTH123 - there are many
            text = file.read()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    if not any(name in text for name in _GROUPS):
        return
    group = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            group = line[1:-1]
        elif line and not line.startswith("#") and group in _GROUPS:
            name, _, value = line.partition("=")
            yield InstalledEntry(group, name.strip(), value.strip())
