"""How the body of a task is written, kind by kind: as a line of a workload file, an item, a number."""

from __future__ import annotations

import functools
import random
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from kon.core.errors import ConfigurationError
from kon.experiment.problems import describe
from kon.kinds.mirroritem import expanded, parse_line
from kon.kinds.video.jobfile import read_job
from kon.kinds.video.names import demo_names
from kon.kinds.web.numbered import count_of, numbered

_SLEEP: Final = re.compile(r"sleep[ \t]+([0-9]+(?:\.[0-9]+)?)")
_INTEGER: Final = re.compile(r"[-+]?[0-9]{1,300}")


class Several(NamedTuple):
    """In place of a body: all that `make` makes, the same each time."""

    make: Callable[[], Iterator[Any]]


class Form(ABC):
    """Makes bodies of what a source holds. All raise ConfigurationError with what was expected and found."""

    @abstractmethod
    def of_line(self, line: str) -> Any:
        """Of a line that is neither blank nor a comment."""

    def of_item(self, item: Any) -> Any:
        """Of an item that stands in the experiment file."""
        return item

    def of_number(self, number: int) -> Any:
        """Of a number of a range."""
        return number

    def of_count(self, number: int) -> Any:
        """Of one of so many tasks that are all alike but for their number, from 0."""
        return number

    def of_path(self, path: str) -> Any:
        """Of a file that a glob has found."""
        return path


class JsonForm(Form):
    """One JSON value a line: `python`, and kinds that kon does not know."""

    def of_line(self, line: str) -> Any:
        try:
            return msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
            raise ConfigurationError(
                f"expected a JSON value, found {describe(line.strip())} ({error})"
            ) from error


class SleepForm(Form):
    """`sleep 10000`, in milliseconds, as the older systems wrote it; an item is in seconds."""

    def of_line(self, line: str) -> Any:
        found = _SLEEP.fullmatch(line.strip())
        if found is None:
            raise ConfigurationError(
                f'expected "sleep MILLISECONDS" such as "sleep 10000", found {describe(line.strip())}'
            )
        return float(found[1]) / 1000


class ShellForm(Form):
    """A line is taken as it stands: the item that the command is given, or the command itself."""

    def of_line(self, line: str) -> Any:
        return line

    def of_count(self, number: int) -> Any:
        """None: a command that wants the task's number says `{#}`, and any other runs as it is."""
        return None


class StatsForm(Form):
    """Integers with blanks or commas between them, or a JSON list."""

    def of_line(self, line: str) -> Any:
        if line.lstrip().startswith("["):
            return JsonForm().of_line(line)
        words = line.replace(",", " ").split()
        wrong = next((word for word in words if not _INTEGER.fullmatch(word)), None)
        if wrong is not None or not words:
            raise ConfigurationError(
                f"expected integers with blanks between them, or a JSON list, found {describe(wrong or line)}"
            )
        return [int(word) for word in words]


class AnimotoForm(JsonForm):
    """A JSON value a line, a list of links or a mapping with `links`; a file has one link a line."""

    def of_count(self, number: int) -> Any:
        """All of kon's made-up pictures, for each number in another order: for `images: demo`."""
        names = demo_names()
        return random.Random(number).sample(names, len(names))

    def of_path(self, path: str) -> Any:
        """What the file says, not its name: a worker on another host has no such file."""
        return read_job(Path(path))


class MirrorForm(Form):
    """A link a line, perhaps a checksum after it, or a mapping as JSON; a numbered link makes several."""

    def of_line(self, line: str) -> Any:
        return self.of_item(parse_line(line))

    def of_item(self, item: Any) -> Any:
        make = expanded(item)
        return item if make is None else Several(make)


class KeyForm(Form):
    """The key of an object; a numbered one makes several."""

    def of_line(self, line: str) -> Any:
        return self.of_item(line.strip())

    def of_item(self, item: Any) -> Any:
        return (
            Several(functools.partial(numbered, item))
            if isinstance(item, str) and count_of(item) > 1
            else item
        )


_FORMS: Final[dict[str, Form]] = {
    "animoto": AnimotoForm(),
    "mirror": MirrorForm(),
    "image": KeyForm(),
    "transcode": KeyForm(),
    "sleep": SleepForm(),
    "shell": ShellForm(),
    "stats": StatsForm(),
}


def form_of(kind: str) -> Form:
    """The form of a kind's bodies; `kind` is the name that the kind's class bears."""
    return _FORMS.get(kind) or JsonForm()
