"""What the page is made of comes with the package."""

from __future__ import annotations

import tomllib
from pathlib import Path

from kon.report.live.server import _FILES

PROJECT = Path(__file__).parents[3]
PAGE = PROJECT / "kon" / "report" / "live" / "page"

PAGE = PROJECT / "kon" / "report" / "live" / "page"


def test_every_file_of_a_page_is_named_for_the_wheel() -> None:
    """Setuptools leaves out what no pattern names."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["kon"]
    named = {file for pattern in patterns for file in (PROJECT / "kon").glob(pattern)}
    files = {file for file, _ in _FILES.values()}
    files |= {file for file in PAGE.iterdir() if file.is_file()}
    assert files <= named


def test_every_file_of_the_page_is_served() -> None:
    served = {file for file, _ in _FILES.values()}
    assert {file for file in PAGE.iterdir() if file.is_file()} <= served
