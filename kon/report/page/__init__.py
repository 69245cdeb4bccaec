"""The report: one page of HTML that holds all it needs."""

from __future__ import annotations

from pathlib import Path
from typing import Final

STYLE: Final = Path(__file__).parent / "style.css"
"""Colours, type and tables of every page that kon makes."""
