"""A table that fits its terminal, with nothing lost: columns that say nothing are named below it, and what is
still too wide is laid on its side, or in parts below one another."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from rich.cells import cell_len

_NOTHING: Final = frozenset({"0", "-", ""})

ELLIPSIS: Final = "..."


class Sheet(NamedTuple):
    """Texts of a table; align: `left` or `right`, for each column."""

    headers: list[str]
    body: list[list[str]]
    align: list[str]

    def only(self, columns: Sequence[int]) -> Sheet:
        """Some of the columns, in the order in which they are named."""
        return Sheet(
            [self.headers[at] for at in columns],
            [[row[at] for at in columns] for row in self.body],
            [self.align[at] for at in columns],
        )


def fitted(sheet: Sheet, width: int, draw: Callable[[Sheet], str]) -> str:
    """The table as text that is at most `width` columns of a terminal wide."""
    text = draw(sheet)
    if _width(text) <= width:
        return text
    names = _names(sheet)
    hidden = sorted({*_empty(sheet, names), *_alike(sheet, names)})
    short = _shortened(sheet, width)
    for each in (sheet, short):
        for hide in (_empty(sheet, names), hidden):
            text = draw(_without(each, hide))
            if _width(text) <= width:
                return "\n\n".join([text, *_note(each, hide, width)])
    return "\n\n".join([*_parts(_without(short, hidden), names, width, draw), *_note(short, hidden, width)])


def _without(sheet: Sheet, hidden: Sequence[int]) -> Sheet:
    return sheet.only([at for at in range(len(sheet.headers)) if at not in hidden])


def wrapped(text: str, width: int | None) -> str:
    """A sentence, broken into lines that fit. Without a width it stays as it is."""
    if width is None:
        return text
    return "\n".join(textwrap.wrap(text, width, break_on_hyphens=False)) or text


def folded(text: str, width: int | None) -> str:
    """Lines, each broken at its words where it is too long; what follows stands below its last column.

    A column begins after two spaces or more, in the first two thirds of the width. Without a width, the lines
    stay as they are.
    """
    if width is None:
        return text
    return "\n".join(part for line in text.split("\n") for part in _fold(line, width))


def _fold(line: str, width: int) -> list[str]:
    if cell_len(line) <= width:
        return [line]
    columns = [at.end() for at in re.finditer(r"(?:^|(?<=\S))\s{2,}", line) if at.end() <= width * 2 // 3]
    hang = " " * (columns[-1] if columns else 2)
    return textwrap.wrap(line, width, subsequent_indent=hang, break_on_hyphens=False, expand_tabs=False)


def _names(sheet: Sheet) -> int:
    """How many columns it takes to tell the rows apart."""
    for count in range(1, len(sheet.headers)):
        if len({tuple(row[:count]) for row in sheet.body}) == len(sheet.body):
            return count
    return 1


def _empty(sheet: Sheet, names: int) -> list[int]:
    """The columns that have nothing in any row."""
    columns = range(names, len(sheet.headers))
    return [at for at in columns if all(row[at] in _NOTHING for row in sheet.body)]


def _alike(sheet: Sheet, names: int) -> list[int]:
    """The columns with one value in all rows, where there are several rows."""
    columns = range(names, len(sheet.headers) if len(sheet.body) > 1 else names)
    return [at for at in columns if len({row[at] for row in sheet.body}) == 1]


def _note(sheet: Sheet, hidden: Sequence[int], width: int) -> Iterator[str]:
    """What every row has in the columns that are hidden."""
    titles: dict[str, list[str]] = {}
    for at in hidden:
        for cell in dict.fromkeys(row[at] or "empty" for row in sheet.body):
            titles.setdefault(cell, []).append(_one_line(sheet.headers[at]))
    if titles:
        words = [f"{', '.join(each)} ({cell})" for cell, each in titles.items()]
        where = ", the same in each row" if len(sheet.body) > 1 else ""
        yield wrapped(f"Not shown{where}: {'; '.join(words)}. --wide shows all.", width)


def _parts(sheet: Sheet, names: int, width: int, draw: Callable[[Sheet], str]) -> Iterator[str]:
    text = draw(sheet)
    if _width(text) <= width:
        yield text
        return
    if len(sheet.body) < len(sheet.headers):
        text = draw(_on_its_side(sheet, names))
        if _width(text) <= width:
            yield text
            return
    head = list(range(names))
    part = list(head)
    for at in range(names, len(sheet.headers)):
        if len(part) > names and _width(draw(sheet.only([*part, at]))) > width:
            yield draw(sheet.only(part))
            part = list(head)
        part.append(at)
    yield draw(sheet.only(part))


def _on_its_side(sheet: Sheet, names: int) -> Sheet:
    """A column for each row, headed by what tells it apart."""
    titles = ["\n".join(row[:names]) for row in sheet.body]
    first = "\n".join(_one_line(header) for header in sheet.headers[:names])
    columns = range(names, len(sheet.headers))
    body = [[_one_line(sheet.headers[at]), *(row[at] for row in sheet.body)] for at in columns]
    return Sheet([first, *titles], body, ["left", *["right"] * len(titles)])


def _shortened(sheet: Sheet, width: int) -> Sheet:
    """No cell is wider than half of the terminal: its middle is left out, as names differ at their ends."""
    most = max(len(ELLIPSIS) + 2, width // 2)
    return sheet._replace(body=[[_short(cell, most) for cell in row] for row in sheet.body])


def _short(text: str, most: int) -> str:
    if cell_len(text) <= most:
        return text
    kept = most - len(ELLIPSIS)
    return f"{text[: kept // 2]}{ELLIPSIS}{text[len(text) - (kept - kept // 2) :]}"


def _one_line(header: str) -> str:
    return " ".join(header.split())


def _width(text: str) -> int:
    return max((cell_len(line) for line in text.splitlines()), default=0)
