"""Whether what videos are made with is installed."""

from __future__ import annotations

import importlib.util
from typing import Final

from kon.errors import ConfigurationError

_PACKAGES: Final = {"aiohttp": "aiohttp", "av": "av", "PIL": "pillow"}
"""Module by package: those of the extra `animoto`."""


def check_installed() -> None:
    """Raises ConfigurationError with the command that installs what is missing. Imports nothing."""
    missing = [package for module, package in _PACKAGES.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise ConfigurationError(
            f"the kind animoto needs {', '.join(missing)}, which this Python lacks; nothing was run. "
            "Install them on every host with workers: pip install 'kon[animoto]' (in a checkout: "
            "pip install -e '.[animoto]')"
        )
