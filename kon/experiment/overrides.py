"""`--set key=value`: changes to an experiment that a command line asks for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from kon.core.errors import describe, did_you_mean
from kon.experiment.yamltree import Entry, Mapping, Node, Place, Problem, Scalar, plain, read_value
from kon.experiment.yamltree import Sequence as ListNode

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
