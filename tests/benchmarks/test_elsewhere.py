"""What other pages' benchmarks found stands on docs/benchmarks.md too."""

from __future__ import annotations

import pytest

from benchmarks.elsewhere import PARTS, Part, gathered
from benchmarks.records import ROOT


def test_the_page_has_the_newest_of_each() -> None:
    """Where it has not: `python -m benchmarks --redraw --write`."""
    assert gathered() in (ROOT / "docs" / "benchmarks.md").read_text()


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.title)
def test_each_has_figures_or_says_that_there_are_none(part: Part) -> None:
    assert "|" in part.read() or "Nothing is recorded" in part.read()


def test_a_page_without_its_marks_is_told() -> None:
    with pytest.raises(ValueError, match=r"animoto\.md has no <!-- none -->"):
        PARTS[0]._replace(begin="<!-- none -->").read()
