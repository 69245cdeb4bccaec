"""Names that become paths: object keys and runs."""

from __future__ import annotations

from typing import Final

from kon.errors import ConfigurationError

_NOT_A_NAME: Final = frozenset({"", ".", ".."})


def check_key(key: str) -> str:
    """The key itself. Raises ConfigurationError for one that could lead out of its store."""
    if "\\" in key or "\0" in key or not _NOT_A_NAME.isdisjoint(key.split("/")):
        raise ConfigurationError(
            f"the object key {key!r} is not a relative path of plain names with forward slashes; "
            "nothing was stored or read"
        )
    return key


def check_run(run: str) -> str:
    """The run's name itself. Raises ConfigurationError for one that is not the plain name of a folder."""
    if run in _NOT_A_NAME or not {"/", "\\", "\0"}.isdisjoint(run):
        raise ConfigurationError(f"the run {run!r} can't be the name of a folder; choose one without slashes")
    return run
