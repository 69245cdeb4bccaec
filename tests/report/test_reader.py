"""The house has one reader of records: what it knows of them stands in one place."""

from __future__ import annotations

import re

import pytest

from tests.house import modules

LINES = "kon.report.read.lines"


def found_in(pattern: str) -> set[str]:
    return {name for name, file in modules().items() if re.search(pattern, file.read_text())}


@pytest.mark.parametrize(
    ("what", "pattern", "places"),
    [
        ("half a line", "left by a killed process", {"kon.core.journal"}),
        ("a foreign file", "names a task beyond", {LINES}),
        ("a line of events", r"(?m)^    e: str", {LINES}),
        (
            "a packet",
            r"(?m)^    worker: str\n    outcomes: list\[",
            {"kon.core.task", "kon.report.read.lines"},
        ),
    ],
)
def test_stands_in_one_place(what: str, pattern: str, places: set[str]) -> None:
    assert found_in(pattern) == places, what


def test_the_name_of_the_client_is_a_constant() -> None:
    assert found_in(r"""FolderLock\([^)]*["']client["']""") == {"kon.core.lock"}
    rooms = ("kon.api.", "kon.engine.", "kon.report.")
    assert not {name for name in found_in(r"""["']client(\.jsonl)?["']""") if name.startswith(rooms)}


def test_only_the_reader_decodes_lines_of_records() -> None:
    decoders = {name for name in found_in(r"msgspec\.json\.Decoder\(\w") if name.startswith("kon.report.")}
    assert decoders == {LINES}
