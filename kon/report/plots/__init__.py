"""Plots, from records alone. matplotlib is imported in this package and nowhere else."""

from __future__ import annotations

from kon.core.distribution import install
from kon.core.errors import ConfigurationError

try:
    import matplotlib as _  # noqa: F401 - said here once, for all modules of the package
except ModuleNotFoundError as missing:
    raise ConfigurationError(
        f"plots need {missing.name}, which this Python lacks; nothing was written. Install it: "
        f"{install('controller')}"
    ) from missing
