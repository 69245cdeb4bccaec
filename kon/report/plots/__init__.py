"""Plots, from records alone. matplotlib is imported in this package's modules and nowhere else."""

from __future__ import annotations

import importlib

from kon.core.distribution import install


def lacking() -> str:
    """Why no plot can be drawn, and the command that mends it; empty where nothing is lacking."""
    try:
        importlib.import_module("matplotlib")
    except ModuleNotFoundError as missing:
        return f"plots need {missing.name}, which this Python lacks. Install it: {install('plots')}"
    return ""
