"""What is wrong with an experiment, and where: all of it at once, one line each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from kon.core.errors import ConfigurationError, printable

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
