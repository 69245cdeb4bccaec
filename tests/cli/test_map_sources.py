"""Where the items of `kon map` come from, and how they are put together."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from kon.cli.map_sources import MOST_BYTES, Columns, Groups, combined, read_file, read_sources, separator_of
from kon.cli.map_words import ItemInput
from kon.core.errors import WorkloadError


@pytest.mark.parametrize(
    ("text", "delimiter", "items"),
    [
        (b"", b"\n", []),
        (b"a\n\n b \r\nc", b"\n", ["a", " b \r", "c"]),
        (b"a\nb\0\0c", b"\0", ["a\nb", "", "c"]),
        (b"a,b\n,c", b",", ["a", "b\n", "c"]),
        (b"caf\xe9\n", b"\n", ["caf\udce9"]),
    ],
)
def test_items_of_a_file(tmp_path: Path, text: bytes, delimiter: bytes, items: list[str]) -> None:
    file = tmp_path / "items"
    file.write_bytes(text)
    assert list(read_file(str(file), delimiter)) == items


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(WorkloadError, match=r"^items in nowhere: can't be read: No such file"):
        read_file("nowhere", b"\n")


def test_standard_input_can_be_read_once() -> None:
    with pytest.raises(click.UsageError, match="standard input is named twice"):
        read_sources([ItemInput(file="-"), ItemInput(file="-")], b"\n")


class TestSeveral:
    def of(self, *sources: ItemInput) -> list[object]:
        return list(combined(sources, read_sources(sources, b"\n")))

    def test_each_with_each(self) -> None:
        found = self.of(ItemInput(["A", "B"]), ItemInput(["1", "2", "3"]))
        assert found == [("A", "1"), ("A", "2"), ("A", "3"), ("B", "1"), ("B", "2"), ("B", "3")]

    def test_linked(self) -> None:
        assert self.of(ItemInput(["A", "B"]), ItemInput(["1", "2"], linked=True)) == [
            ("A", "1"),
            ("B", "2"),
        ]
        found = self.of(ItemInput(["A", "B"]), ItemInput(["1", "2"], linked=True), ItemInput(["x", "y"]))
        assert found == [("A", "1", "x"), ("A", "1", "y"), ("B", "2", "x"), ("B", "2", "y")]

    def test_linked_sources_are_of_one_length(self) -> None:
        """GNU parallel would leave some out, and say nothing."""
        with pytest.raises(click.UsageError, match="one has 1, the one linked to it 2"):
            self.of(ItemInput(["A"]), ItemInput(["1", "2"], linked=True))

    def test_one_that_is_empty(self) -> None:
        assert self.of(ItemInput(["A", "B"]), ItemInput([])) == []


def test_columns() -> None:
    columns = Columns(["a,b", "c", ",d,"], separator_of(","))
    assert list(columns) == [("a", "b"), ("c",), ("", "d", "")]
    assert (len(columns), columns[1]) == (3, ("c",))
    assert list(Columns(["a  b c"], separator_of(" +"))) == [("a", "b", "c")]


@pytest.mark.parametrize("text", ["(", "", "x*", "(,)"])
def test_separators_that_are_none(text: str) -> None:
    with pytest.raises(click.UsageError, match=re.escape(f"--colsep {text}: ")):
        separator_of(text)


class TestGroups:
    def test_so_many_for_a_command(self) -> None:
        groups = Groups.of(["a", "b", "c"], 2, 8, spread=False)
        assert list(groups) == [("a", "b"), ("c",)]
        assert len(Groups.of([], 2, 8, spread=False)) == 0

    def test_as_many_as_fit(self) -> None:
        items = ["x" * 1_000] * 300
        groups = Groups.of(items, None, 1, spread=True)
        assert sum(len(group) for group in groups) == 300
        assert [len(group) for group in groups] == [128, 128, 44]
        assert MOST_BYTES // 1_024 == 128

    def test_shared_by_the_slots(self) -> None:
        groups = Groups.of(list("abcdefg"), None, 3, spread=True)
        assert list(groups) == [("a", "b", "c"), ("d", "e", "f"), ("g",)]
        assert list(Groups.of(list("abcd"), 1, 2, spread=True)) == [("a",), ("b",), ("c",), ("d",)]
