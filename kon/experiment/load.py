"""Reading an experiment file: all that is wrong with it is said at once, each with its line.

`--set key=value`, a change that a command line asks for, is read as the file is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from kon.backends.prices import FILE, Prices
from kon.core.errors import ConfigurationError, describe, did_you_mean
from kon.experiment.cells import Experiment
from kon.experiment.check import read_experiment
from kon.experiment.models import checked
from kon.experiment.yamltree import (
    Entry,
    Mapping,
    Node,
    Place,
    Problem,
    Scalar,
    find,
    plain,
    raise_problems,
    read_documents,
    read_value,
)
from kon.experiment.yamltree import Sequence as ListNode

MAX_FILE_BYTES: Final = 8 * 1024 * 1024


def load(path: Path, overrides: Sequence[str] = (), limit: int | None = None) -> list[Experiment]:
    """The experiments of a file, in order; the first one's name is the name of the whole.

    overrides: `key=value`, as after `--set`. limit: most tasks of each run, the first ones.
    Every task is checked, which for a large workload file takes a while.
    Raises ConfigurationError (WorkloadError, UnknownPlugin) that lists all that is wrong.
    """
    if limit is not None and limit < 1:
        raise ConfigurationError(f"--limit: expected a whole number of 1 or more, found {limit}")
    return loads(_read(path), str(path), path.parent, overrides, limit)


def loads(
    text: str, source: str, folder: Path, overrides: Sequence[str] = (), limit: int | None = None
) -> list[Experiment]:
    """Experiments of a text. `source`: what places are named after; `folder`: where workload files are."""
    problems: list[Problem] = []
    documents = read_documents(text, source, problems)
    if not documents and not problems:
        raise ConfigurationError(
            f"{source}: is empty; expected an experiment with at least name and workload"
        )
    if documents:
        documents = apply_overrides(documents, parse_overrides(overrides, problems), problems)
    _check_names(documents, problems)
    unreadable = {problem.place for problem in problems}
    found: list[Problem] = []
    experiments = [read_experiment(document, folder, limit, found) for document in documents]
    # what the reader could not make sense of is reported once, not again for not being what was expected
    problems.extend(problem for problem in found if problem.place not in unreadable)
    raise_problems(problems)
    return [experiment for experiment in experiments if experiment is not None]


def _check_names(documents: Sequence[Node], problems: list[Problem]) -> None:
    seen: dict[object, Node] = {}
    for document in documents:
        if not (isinstance(document, Mapping) and "name" in document.entries):
            continue
        node = find(document, ("name",))
        name = plain(node)
        if isinstance(name, str) and name in seen:
            text = f"the name {describe(name)} is taken by the experiment on line {seen[name].place.line}"
            problems.append(Problem(node.place, text))
        elif isinstance(name, str):
            seen[name] = node


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError as error:
        beside = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
        raise ConfigurationError(f"{path}: there is no such file{did_you_mean(path.name, beside)}") from error
    except IsADirectoryError as error:
        inside = [str(each) for each in sorted(path.glob("*.yml"))[:1]]
        such = "".join(f", such as {describe(each)}" for each in inside)
        raise ConfigurationError(f"{describe(str(path))} is a folder; expected a YAML file{such}") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigurationError(f"{describe(str(path))} can't be read: {reason}") from error
    if len(data) > MAX_FILE_BYTES:
        raise ConfigurationError(
            f"{path}: is larger than {MAX_FILE_BYTES} bytes; put the items into a workload file, one a line"
        )
    if b"\0" in data:
        raise ConfigurationError(
            f"{path}: is a binary file, or text that is not UTF-8; expected an experiment in YAML"
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        raise ConfigurationError(
            f"{path}:{line}:{column}: expected UTF-8 text, found the byte 0x{data[error.start]:02x}"
        ) from error


def read_prices(path: Path = FILE) -> Prices:
    """Raises ConfigurationError with the place of what is wrong."""
    given: Any = plain(checked(path, Prices))
    prices = msgspec.convert(given, Prices)
    if prices.currency != "USD":
        raise ConfigurationError(f'{path}: currency: expected "USD", found "{prices.currency}"')
    return prices


_NAMED: Final = ("backend", "strategies")
"""Keys whose value may be a lone name in place of a mapping with a name and options."""


class Override(NamedTuple):
    """experiment: the name of the one that is meant; empty for all in the file."""

    experiment: str
    path: list[str]
    value: Node
    source: str


def parse_overrides(texts: Sequence[str], problems: list[Problem]) -> list[Override]:
    """`workers=[1, 2]`, `workload.count=10`, or for one experiment of several `compare:workers=4`."""
    found = []
    for text in texts:
        source = f"--set {text}"
        target, equals, value_text = text.partition("=")
        experiment, _, dotted = target.rpartition(":")
        path = dotted.strip().split(".")
        if not equals or "" in path:
            problems.append(Problem(Place(source), "expected key=value, such as workload.count=10"))
            continue
        value = read_value(value_text, source, problems)
        if value is not None:
            found.append(Override(experiment.strip(), path, value, source))
    return found


def apply_overrides(
    documents: Iterable[Node], overrides: Sequence[Override], problems: list[Problem]
) -> list[Node]:
    """The documents with all changes made, in their order."""
    changed = list(documents)
    names = [_name(document) for document in changed]
    for override in overrides:
        if override.experiment and override.experiment not in names:
            text = f"no experiment {describe(override.experiment)} in this file"
            meant = did_you_mean(override.experiment, names)
            problems.append(Problem(Place(override.source), text + meant))
        changed = [
            _set(document, override.path, override, problems)
            if isinstance(document, Mapping) and override.experiment in ("", name)
            else document
            for document, name in zip(changed, names, strict=True)
        ]
    return changed


def _name(document: Node) -> str:
    entry = document.entries.get("name") if isinstance(document, Mapping) else None
    return str(plain(entry.node)) if entry is not None else ""


def _set(node: Node, path: Sequence[str], override: Override, problems: list[Problem]) -> Node:
    if not path:
        return override.value
    place = Place(override.source)
    step, rest = path[0], path[1:]
    if isinstance(node, ListNode) and step.isdecimal() and int(step) < len(node.items):
        items = list(node.items)
        items[int(step)] = _set(items[int(step)], rest, override, problems)
        return ListNode(items, node.place)
    if isinstance(node, Scalar) and node.value is None:
        node = Mapping({}, place)
    elif isinstance(node, Scalar) and override.path[0] in _NAMED:
        node = Mapping({"name": Entry(node.place, node)}, node.place)
    if not isinstance(node, Mapping):
        done = ".".join(override.path[: len(override.path) - len(path)])
        what = (
            f"a list of {len(node.items)}, counted from 0"
            if isinstance(node, ListNode)
            else describe(plain(node))
        )
        problems.append(Problem(place, f'"{done}" is {what}, in which there is no "{step}"'))
        return node
    below = node.entries[step].node if step in node.entries else Scalar(None, "", place)
    entry = Entry(place, _set(below, rest, override, problems))
    return Mapping({**node.entries, step: entry}, node.place)
