"""kon as it is installed: its distribution's name, its version, and how an extra is installed.

The distribution is called cloudkon, as "kon" is another project's on PyPI. Only this module knows that.
"""

from __future__ import annotations

import functools
import importlib.metadata
from typing import Final

NAME: Final = "cloudkon"


@functools.cache
def version() -> str:
    """The version that is installed. Raises importlib.metadata.PackageNotFoundError where none is."""
    return importlib.metadata.version(NAME)


def install(extra: str) -> str:
    """The command that installs one of kon's extras. The brackets are quoted, as zsh wants it."""
    return f"pip install '{NAME}[{extra}]' (in a checkout: pip install -e '.[{extra}]')"
