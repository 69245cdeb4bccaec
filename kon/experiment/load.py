"""Reading an experiment file: all that is wrong with it is said at once, each with its line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from kon.backends.prices import FILE, Prices
from kon.core.errors import ConfigurationError, describe, did_you_mean
from kon.experiment.cells import Experiment
from kon.experiment.check import read_experiment
from kon.experiment.models import checked
from kon.experiment.overrides import apply_overrides, parse_overrides
from kon.experiment.yamltree import Mapping, Node, Problem, find, plain, raise_problems, read_documents

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
