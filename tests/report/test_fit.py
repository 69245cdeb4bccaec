"""Tables that fit a terminal, with nothing lost."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from kon.report.columns import draw

STRATEGIES = (
    [
        "strategy",
        "workers",
        "time\n(s)",
        "tasks/s",
        "efficiency\n(%)",
        "duplicates\navoided",
        "lost",
        "slots",
    ],
    [
        ["lease", "1", "10.2 ±0.10", "98.2 ±0.90", "97.1 ±0.20", "12", "0", "4"],
        ["lease", "2", "5.20 ±0.10", "191 ±2.00", "96.1 ±0.20", "9", "0", "4"],
        ["none", "1", "10.1 ±0.10", "99.0 ±0.90", "97.9 ±0.20", "0", "0", "4"],
        ["none", "2", "5.10 ±0.10", "195 ±2.00", "97.8 ±0.20", "0", "0", "4"],
    ],
    ["left", *["right"] * 7],
)


def fitted(width: int | None, table: tuple[list[str], list[list[str]], list[str]] = STRATEGIES) -> str:
    headers, body, align = table
    return draw(body, headers, align, width=width)


def widest(text: str) -> int:
    return max(cell_len(line) for line in text.splitlines())


def test_what_fits_stays_as_it_is() -> None:
    whole = fitted(None)
    assert fitted(widest(whole)) == whole
    assert fitted(widest(whole) - 1) != whole


def test_columns_that_say_nothing_are_hidden_and_named_below() -> None:
    table, note = fitted(widest(fitted(None)) - 1).split("\n\n")
    assert "lost" not in table
    assert "slots" in table, "no more is hidden than it takes"
    assert note == "Not shown, the same in each row: lost (0). --wide shows all."
    note = fitted(40).split("\n\n")[-1]
    assert " ".join(note.split()).startswith("Not shown, the same in each row: lost (0); slots (4).")


@pytest.mark.parametrize("width", [34, 40, 55, 60, 80])
def test_no_line_is_wider_and_every_cell_is_there(width: int) -> None:
    text = fitted(width)
    assert widest(text) <= width
    for row in STRATEGIES[1]:
        for cell in row[:6]:
            assert cell in text


def test_parts_have_what_tells_rows_apart() -> None:
    parts = fitted(40).split("\n\n")[:-1]
    assert len(parts) > 1
    for part in parts:
        rows = [line.split() for line in part.splitlines()[-4:]]
        assert [row[:2] for row in rows] == [row[:2] for row in STRATEGIES[1]]


def test_few_rows_are_laid_on_their_side() -> None:
    headers, body, align = STRATEGIES
    text = fitted(50, (headers, body[:1], align))
    assert text.splitlines()[0].split() == ["strategy", "lease"]
    assert ["efficiency", "(%)", "97.1", "±0.20"] in [line.split() for line in text.splitlines()]
    assert "lost (0)" in text.split("\n\n")[1]
    assert "slots" in text, "of one row all is alike, and nothing hidden for that"


def test_a_name_wider_than_the_terminal_keeps_its_ends() -> None:
    name = "an-experiment-with-a-long-name-lease-w16-r3"
    text = fitted(40, (["run", "tasks"], [[name, "1,000"]], ["left", "right"]))
    assert widest(text) <= 40
    assert "an-exper...se-w16-r3" in text


def test_other_styles_are_as_wide_as_they_are() -> None:
    headers, body, align = STRATEGIES
    assert draw(body, headers, align, "github", 40) == draw(body, headers, align, "github")


def test_a_name_is_whole_where_there_is_room_for_it() -> None:
    run = "results/compare/compare-read_then_write-before-w4-r1"
    headers = ["folder", "state", "size", "objects", "age"]
    text = fitted(
        80,
        (headers, [[run, "finished", "145 kB", "0", "3 min"]], ["left", "left", "right", "right", "right"]),
    )
    assert run in text
    assert widest(text) <= 80
