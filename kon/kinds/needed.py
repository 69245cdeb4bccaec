"""Whether the packages are installed that a kind works with."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping

from kon.core.distribution import install
from kon.core.errors import ConfigurationError


def check_installed(kind: str, packages: Mapping[str, str]) -> None:
    """Raises ConfigurationError with the command that installs what is missing. Imports nothing.

    kind: also the name of kon's extra. packages: package by module.
    """
    missing = [package for module, package in packages.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise ConfigurationError(
            f"the kind {kind} needs {', '.join(missing)}, which this Python lacks; nothing was run. "
            f"Install them on every host with workers: {install(kind)}"
        )
