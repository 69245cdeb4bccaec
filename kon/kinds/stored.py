"""What kinds that work with the store share: an object as input, names of what they make, and its bounds.

It also checks that the packages which a kind needs are installed. Numbered links, such as
`https://host/img-{0001..0100}.jpg`, stand for a hundred of them.
"""

from __future__ import annotations

import functools
import itertools
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec

from kon.core.distribution import install
from kon.core.errors import ConfigurationError, KindError
from kon.core.kind import Attempt, Kind, Several
from kon.core.objects import ObjectStore, check_key
from kon.core.options import OptionError
from kon.kinds.command import fill, placeholders, tells_apart

AtLeast1 = Annotated[int, msgspec.Meta(ge=1)]


class TakesObjects(Kind):
    """A kind whose body is the key of an object; a numbered key stands for several."""

    _key: OutputKey

    def check(self, body: Any) -> None:
        self._key.check(input_key(body))

    def shared_keys(self, body: Any) -> Sequence[str]:
        return self._key.shared(input_key(body))

    def body_of_line(self, line: str) -> Any:
        return self.body_of_item(line.strip())

    def body_of_item(self, item: Any) -> Any:
        if isinstance(item, str) and count_of(item) > 1:
            return Several(functools.partial(numbered, item))
        return item


async def fetch(objects: ObjectStore, key: str, file: Path, max_bytes: int | None = None) -> int:
    """Write an object to a file; its size in bytes. Raises KindError where it is not there, has more than
    `max_bytes`, or there is no room for it."""
    try:
        size_bytes = await objects.size_bytes(key)
        if max_bytes is not None and size_bytes > max_bytes:
            raise KindError(
                f'the object "{key}" has {size_bytes:,} bytes, and the option max_bytes allows {max_bytes:,}'
            )
        room_bytes = shutil.disk_usage(file.parent).free
        if size_bytes > room_bytes:
            raise KindError(
                f'the object "{key}" has {size_bytes:,} bytes, and {file.parent} has room for '
                f"{room_bytes:,}. Make room there, or set TMPDIR for the workers"
            )
        await objects.get(key, file)
    except KeyError as error:
        raise KindError(f'there is no object "{key}" in the store') from error
    except OSError as error:
        raise KindError(
            f'the object "{key}" can\'t be written to {file.parent}: {error.strerror}. Make room there, '
            "or set TMPDIR for the workers"
        ) from error
    return size_bytes


def input_key(body: Any) -> str:
    """The body, a key. Raises ConfigurationError for any other."""
    if not isinstance(body, str) or not body:
        raise ConfigurationError(f"expected the key of an object, got {body!r:.80}")
    return check_key(body)


class OutputKey:
    """Where a task's output is stored: a function of the task, so that a repeat replaces what it stored."""

    def __init__(self, kind: str, template: str | None) -> None:
        """template: a key with placeholders for the item (see kon.kinds.command); None for a key that is made
        of the run and the task's index. Raises ConfigurationError for one that all tasks would share."""
        if template is not None and not placeholders(template):
            raise OptionError(
                f'option "key" of kind {kind}: {template!r} is the same for all tasks; put a placeholder for '
                "the item or the task's number into it, such as {} or {#}",
                "key",
            )
        self._kind = kind
        self._template = template

    def of(self, item: str, attempt: Attempt, suffix: str) -> str:
        """Raises ConfigurationError where the item makes it no key."""
        if self._template is None:
            return f"{self._kind}/{attempt.run}/{attempt.index:06}.{suffix}"
        return check_key(fill(self._template, item, attempt.index + 1))

    def shared(self, item: str) -> Sequence[str]:
        """The key, where that of another item may be the same, as with `small/{/}`."""
        if self._template is None or tells_apart(self._template):
            return ()
        return (fill(self._template, item, 1),)

    def check(self, item: str) -> None:
        """Raises ConfigurationError where the item makes it no key, or its own, so that a repeat would take
        the output for its input."""
        if self.of(item, Attempt(run="run", index=0, number=1), "suffix") == item:
            raise ConfigurationError(f'the output would replace its input "{item}"; see the option "key"')


def check_installed(kind: str, packages: Mapping[str, str]) -> None:
    """Raises ConfigurationError with the command that installs what is missing. Imports nothing.

    kind: also the name of kon's extra. packages: package by module.
    """
    import importlib.util  # which workers start without

    missing = [package for module, package in packages.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise ConfigurationError(
            f"the kind {kind} needs {', '.join(missing)}, which this Python lacks; nothing was run. "
            f"Install them on every host with workers: {install(kind)}"
        )


MOST_NUMBERED: Final = 10_000_000
"""Links that one pattern may stand for."""

_NUMBERS: Final = re.compile(r"\{(\d{1,18})\.\.(\d{1,18})\}")


def count_of(pattern: str) -> int:
    """How many texts a pattern stands for; 1 for one without numbers. Raises ConfigurationError for none,
    or too many."""
    total = 1
    for first, last in _NUMBERS.findall(pattern):
        if int(last) < int(first):
            raise ConfigurationError(f"the numbers {{{first}..{last}}} go down; write them from low to high")
        total *= int(last) - int(first) + 1
    if total > MOST_NUMBERED:
        raise ConfigurationError(
            f"{pattern:.200} stands for {total:,} links, and {MOST_NUMBERED:,} are the most"
        )
    return total


def numbered(pattern: str) -> Iterator[str]:
    """Each of the texts, in order, the last numbers first to change. `{001..100}` is written with three
    digits, as in shells."""
    pieces = _NUMBERS.split(pattern)
    texts, bounds = pieces[::3], list(zip(pieces[1::3], pieces[2::3], strict=True))
    for numbers in itertools.product(*(range(int(first), int(last) + 1) for first, last in bounds)):
        out = [texts[0]]
        for number, (first, last), text in zip(numbers, bounds, texts[1:], strict=True):
            out += [f"{number:0{_width(first, last)}}", text]
        yield "".join(out)


def _width(first: str, last: str) -> int:
    padded = [each for each in (first, last) if len(each) > 1 and each.startswith("0")]
    return max(map(len, (first, last))) if padded else 1
