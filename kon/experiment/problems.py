"""What is wrong with an experiment, and where: all of it at once, one line each."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final, NamedTuple

from kon.core.errors import ConfigurationError

MOST_SHOWN: Final = 50
"""Lines in one error; a file that is wrong in more ways is likely no experiment at all."""


class Place(NamedTuple):
    """Where something stands: in a file, or for `line` 0 in a source that has no lines (`--set ...`)."""

    source: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


class Problem(NamedTuple):
    """One thing that is wrong.

    error: what is raised when there is no other sort of problem.
    elsewhere: the text names a place of its own, such as a line of a workload file.
    """

    place: Place
    text: str
    error: type[ConfigurationError] = ConfigurationError
    elsewhere: bool = False

    def __str__(self) -> str:
        return self.text if self.elsewhere else f"{self.place}: {self.text}"


def raise_problems(problems: Iterable[Problem]) -> None:
    """Raise them as one ConfigurationError in the order of the file; return when there are none."""
    found = sorted(dict.fromkeys(problems), key=lambda problem: problem.place[1:])
    if not found:
        return
    lines = [printable(str(problem)) for problem in found[:MOST_SHOWN]]
    if len(found) > MOST_SHOWN:
        lines.append(f"... and {len(found) - MOST_SHOWN} more problems")
    errors = {problem.error for problem in found}
    raise (errors.pop() if len(errors) == 1 else ConfigurationError)("\n".join(lines))


def printable(text: str) -> str:
    """The text on one line, with nothing in it that a terminal would obey."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def describe(value: object) -> str:
    """A value as an error shows it, written as in YAML."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case str():
            shown = value if len(value) <= 40 else f"{value[:37]}..."
            return f'"{printable(shown)}"'
        case int() | float():
            return f"{value}"[:40]
        case list() | dict():
            shown = json.dumps(value, ensure_ascii=False, default=str)
            if value and len(shown) <= 40 and shown.isprintable():
                return shown
            what = "list" if isinstance(value, list) else "mapping"
            return f"a {what}" if value else f"an empty {what}"
        case _:
            return f"a {type(value).__name__}"
