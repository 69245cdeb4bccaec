"""YAML with the place of every key and value, and none of YAML's traps.

Only plain data: mappings, lists, text, numbers, true and false, null. Words and numbers mean what they
mean in YAML 1.2, as in editors: `no` is text and `1e-3` a number. A number with a leading zero is
text, so that `007` stays `007`. Refused: tags, duplicate keys, numbers that are not finite or have
hundreds of digits, and documents that are deep or that aliases blow up.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

import msgspec
import yaml

from kon.core.errors import ConfigurationError, describe, printable

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


MAX_DEPTH: Final = 50
"""Lists and mappings inside one another."""

MAX_ALIASED: Final = 100_000
"""Values that aliases may stand for, in all: a few lines of aliases can stand for billions."""

MAX_DIGITS: Final = 300
"""Digits of an integer: a longer one has no float next to it, and Python reads no more than thousands."""

_TAG: Final = "tag:yaml.org,2002:"

# the core schema of YAML 1.2, chapter 10.3.2, but for leading zeros
_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL: Final = {word: word.lower() == "true" for word in ["true", "True", "TRUE", "false", "False", "FALSE"]}
_INT: Final = re.compile(r"[-+]?(0|[1-9][0-9]*)|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*|(0|[1-9][0-9]*)(?=[eE]))([eE][-+]?[0-9]+)?")
_NOT_FINITE: Final = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")

_UNPRINTABLE: Final = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Scalar(msgspec.Struct, frozen=True):
    """value: text, a number, true, false or null; from a program anything.

    text: as it was written, without quotes.
    """

    value: Any
    text: str
    place: Place
    size: int = 1


class Sequence(msgspec.Struct, frozen=True):
    items: list[Node]
    place: Place
    size: int = 1


class Entry(msgspec.Struct, frozen=True):
    place: Place
    node: Node


class Mapping(msgspec.Struct, frozen=True):
    """size, here and above: how many values it stands for, itself included."""

    entries: dict[str, Entry]
    place: Place
    size: int = 1


Node = Scalar | Sequence | Mapping


def plain(node: Node, as_text: bool = False) -> Any:
    """The bare value. With `as_text` words and numbers stay as they were written; null is null."""
    match node:
        case Scalar():
            return node.text if as_text and node.value is not None else node.value
        case Sequence():
            return [plain(item, as_text) for item in node.items]
        case Mapping():
            return {key: plain(entry.node, as_text) for key, entry in node.entries.items()}


def find(node: Node, path: tuple[str | int, ...]) -> Node:
    """The node at a path, or the last one on the way there."""
    for step in path:
        below = _below(node, step)
        if below is None:
            break
        node = below
    return node


def _below(node: Node, step: str | int) -> Node | None:
    if isinstance(node, Mapping) and isinstance(step, str) and step in node.entries:
        return node.entries[step].node
    if isinstance(node, Sequence) and isinstance(step, int) and step < len(node.items):
        return node.items[step]
    return None


def key_place(node: Node, path: tuple[str | int, ...]) -> Place:
    """Where the key at the end of a path stands; for one that is not there, the mapping that lacks it."""
    above = find(node, path[:-1])
    if isinstance(above, Mapping) and path[-1] in above.entries:
        return above.entries[str(path[-1])].place
    return above.place


def read_documents(text: str, source: str, problems: list[Problem]) -> list[Node]:
    """The documents of a text. What is wrong goes to `problems`; a syntax error ends the reading.

    source: what places are named after.
    """
    found = _UNPRINTABLE.search(text)
    if found:
        line = text.count("\n", 0, found.start()) + 1
        column = found.start() - text.rfind("\n", 0, found.start())
        place = Place(source, line, column)
        problems.append(Problem(place, f"the character U+{ord(found[0]):04X} can't stand in a YAML file"))
        return []
    composer = _Composer(text, source, problems)
    documents: list[Node] = []
    try:
        documents.extend(composer.documents())
    except _StopReading as stop:
        problems.append(stop.problem)
    except yaml.MarkedYAMLError as error:
        problems.append(_syntax_problem(error, text, source))
    except yaml.YAMLError as error:
        problems.append(Problem(Place(source), f"not valid YAML: {error}"))
    return documents


def read_value(text: str, source: str, problems: list[Problem]) -> Node | None:
    """One value, such as that of `--set key=value`; every place in it is the source itself."""
    wrong: list[Problem] = []
    documents = read_documents(text, source, wrong)
    problems.extend(Problem(Place(source), problem.text, problem.error) for problem in wrong)
    if wrong:
        return None
    if len(documents) > 1:
        problems.append(Problem(Place(source), "expected one value, found several YAML documents"))
        return None
    return _placed(documents[0], Place(source)) if documents else Scalar(None, "", Place(source))


def of_plain(value: Any, source: str) -> Node:
    """The node of a value that a program gives; a place in it is the source and the way there."""
    place = Place(source)
    if isinstance(value, dict):
        entries = {
            str(key): Entry(Place(f"{source}: {key}"), of_plain(each, f"{source}: {key}"))
            for key, each in value.items()
        }
        return Mapping(entries, place)
    if isinstance(value, list | tuple):
        return Sequence([of_plain(each, source) for each in value], place)
    return Scalar(value, str(value), place)


def _placed(node: Node, place: Place) -> Node:
    match node:
        case Scalar():
            return Scalar(node.value, node.text, place)
        case Sequence():
            return Sequence([_placed(item, place) for item in node.items], place, node.size)
        case Mapping():
            entries = {key: Entry(place, _placed(entry.node, place)) for key, entry in node.entries.items()}
            return Mapping(entries, place, node.size)


class _StopReading(Exception):
    def __init__(self, place: Place, text: str) -> None:
        self.problem = Problem(place, text)


class _Composer:
    """Builds nodes from the parser's events."""

    def __init__(self, text: str, source: str, problems: list[Problem]) -> None:
        # libyaml, where PyYAML was built with it, reads ten times as fast
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        self._events: Iterator[yaml.Event] = yaml.parse(text, Loader=loader)
        self._source = source
        self._problems = problems
        self._anchors: dict[str, Node] = {}
        self._aliased = 0

    def documents(self) -> Iterator[Node]:
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                self._anchors.clear()
                yield self._node(next(self._events), 0)

    def _node(self, event: yaml.Event, depth: int) -> Node:
        place = self._place(event)
        if depth > MAX_DEPTH:
            raise _StopReading(place, f"more than {MAX_DEPTH} lists and mappings inside one another")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, place)
        assert isinstance(event, yaml.NodeEvent)
        node: Node
        if isinstance(event, yaml.ScalarEvent):
            node = self._scalar(event, place)
        elif isinstance(event, yaml.SequenceStartEvent):
            self._check_tag(event, "seq", place)
            node = self._sequence(place, depth)
        else:
            self._check_tag(event, "map", place)
            node = self._mapping(place, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _alias(self, event: yaml.AliasEvent, place: Place) -> Node:
        node = self._anchors.get(event.anchor or "")
        if node is None:
            raise _StopReading(place, f'the alias "*{event.anchor}" stands for nothing before it')
        self._aliased += node.size
        if self._aliased > MAX_ALIASED:
            raise _StopReading(place, f"the aliases up to here stand for more than {MAX_ALIASED} values")
        return msgspec.structs.replace(node, place=place)

    def _sequence(self, place: Place, depth: int) -> Sequence:
        items = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._node(event, depth + 1))
        return Sequence(items, place, 1 + sum(item.size for item in items))

    def _mapping(self, place: Place, depth: int) -> Mapping:
        entries: dict[str, Entry] = {}
        merged: dict[str, Entry] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._node(event, depth + 1)
            node = self._node(next(self._events), depth + 1)
            if not isinstance(key, Scalar):
                self._add(key.place, f"expected a word as the key, found {describe(plain(key))}")
            elif key.text == "<<" and isinstance(event, yaml.ScalarEvent) and event.implicit[0]:
                self._merge(merged, node)
            elif key.text in entries:
                first = entries[key.text].place
                self._add(
                    key.place, f"the key {describe(key.text)} stands here twice, first on line {first.line}"
                )
            else:
                entries[key.text] = Entry(key.place, node)
        entries = {**merged, **entries} if merged else entries
        return Mapping(entries, place, 1 + sum(entry.node.size for entry in entries.values()))

    def _merge(self, merged: dict[str, Entry], node: Node) -> None:
        for each in node.items if isinstance(node, Sequence) else [node]:
            if isinstance(each, Mapping):
                for key, entry in each.entries.items():
                    merged.setdefault(key, entry)
            else:
                self._add(each.place, f"expected a mapping to merge, found {describe(plain(each))}")

    def _scalar(self, event: yaml.ScalarEvent, place: Place) -> Scalar:
        text = event.value
        if any("\ud800" <= character <= "\udfff" for character in text):
            self._add(place, "half of a surrogate pair is no character")
            text = ascii(text)
        plain_style, _ = event.implicit
        if event.tag is None or event.tag == "!":
            bare = plain_style and event.tag is None
            return Scalar(self._resolve(text, place) if bare else text, text, place)
        kind = event.tag.removeprefix(_TAG)
        value = text if kind == "str" else self._resolve(text, place)
        # yamllint and PyYAML know these five; a tag may insist on what is there, not turn it into another
        types = {"str": str, "int": int, "float": float, "bool": bool, "null": type(None)}
        if types.get(kind) is not type(value):
            self._refuse_tag(event.tag, place)
        return Scalar(value, text, place)

    def _resolve(self, text: str, place: Place) -> str | int | float | bool | None:
        if text in _NULL:
            return None
        if text in _BOOL:
            return _BOOL[text]
        if _INT.fullmatch(text):
            if len(text) <= MAX_DIGITS:
                return int(text, 0)
            self._add(place, f"expected a number of at most {MAX_DIGITS} digits, found {text[:30]}...")
        elif _FLOAT.fullmatch(text):
            if math.isfinite(value := float(text)):
                return value
            self._add(place, f"expected a finite number, found {text[:30]}")
        elif _NOT_FINITE.fullmatch(text):
            self._add(place, f"expected a finite number, found {text}")
        return text

    def _check_tag(self, event: yaml.Event, kind: str, place: Place) -> None:
        assert isinstance(event, yaml.CollectionStartEvent)
        if event.tag not in (None, "!", _TAG + kind):
            self._refuse_tag(event.tag, place)

    def _refuse_tag(self, tag: str, place: Place) -> None:
        shown = tag.replace(_TAG, "!!")
        self._add(
            place, f"the tag {describe(shown)} can't stand here; an experiment is plain data, without tags"
        )

    def _add(self, place: Place, text: str) -> None:
        self._problems.append(Problem(place, text))

    def _place(self, event: yaml.Event) -> Place:
        assert event.start_mark is not None  # both parsers give one
        return Place(self._source, event.start_mark.line + 1, event.start_mark.column + 1)


_UNQUOTED: Final = re.compile(
    "mapping values are not allowed|expected (',' or|key|<block end>|alphabetic)|cannot start any token"
)
"""What either parser says where a command or the like stands there as it is."""
_QUOTES: Final = (
    """; a text such as a command needs quotes where it has ": ", " #", { or [, or begins with *, & or %"""
)


def _syntax_problem(error: yaml.MarkedYAMLError, text: str, source: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return Problem(Place(source), f"not valid YAML: {error.problem}")
    lines = text.split("\n")
    line = lines[mark.line] if mark.line < len(lines) else ""
    place = Place(source, mark.line + 1, mark.column + 1)
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return Problem(place, "not valid YAML: the line is indented with a tab; use spaces")
    context = f" ({error.context})" if error.context else ""
    quotes = _QUOTES if _UNQUOTED.search(str(error.problem)) else ""
    return Problem(place, f"not valid YAML: {error.problem}{context}{quotes}")
