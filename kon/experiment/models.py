"""Models of a fleet, read from YAML: `latency: aws-us-east-1` in an experiment, and `kon plan`.

A model is checked as an experiment is: what is wrong is said with its line, and nothing is simulated.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec

import kon.backends.sim
from kon.backends.sim.model import Model
from kon.core.errors import ConfigurationError, UnknownPlugin, describe, did_you_mean
from kon.core.options import Misfit, misfits
from kon.core.plugins import backend_class
from kon.experiment.model import ExperimentForm
from kon.experiment.workload import Workload
from kon.experiment.yamltree import (
    Entry,
    Mapping,
    Node,
    Place,
    Problem,
    Scalar,
    find,
    key_place,
    plain,
    raise_problems,
    read_documents,
)

DEFAULT: Final = "aws-us-east-1"
"""The model of an experiment that names none."""

FOLDER: Final = Path(kon.backends.sim.__file__).parent / "models"
"""Where models are that are given by name."""


def find_model(name: str, folder: Path) -> Path:
    """The file of a model: a path, seen from `folder`, or a name of one that comes with kon.

    Raises ConfigurationError where there is none.
    """
    if "/" in name or name.endswith((".yml", ".yaml")):
        path = folder / name
        if path.is_file():
            return path
        raise ConfigurationError(f"latency: there is no file {path}")
    known = sorted(path.stem for path in FOLDER.glob("*.yml"))
    if name in known:
        return FOLDER / f"{name}.yml"
    has = f"known: {', '.join(known)}; or the path of a file" if known else f"there is none in {FOLDER}"
    raise ConfigurationError(f"latency: unknown model {describe(name)}{did_you_mean(name, known)} ({has})")


def read_model(path: Path) -> Model:
    """The model in a file. Raises ConfigurationError with the place of what is wrong."""
    return msgspec.convert(plain(read_model_node(path)), Model)


def read_model_with_sources(path: Path) -> Model:
    """The model, and where its figures come from."""
    return msgspec.convert(plain(checked(path, Model)), Model)


def read_model_node(path: Path) -> Mapping:
    """The model as a node, without the sources of its figures: they do not decide how a run goes."""
    return _without_sources(checked(path, Model))


def checked(path: Path, struct: type[msgspec.Struct]) -> Mapping:
    """The one document of a file, fit for a struct. Raises ConfigurationError, with the place of each fault.

    Wherever the struct takes a `source`, the file must have one.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigurationError(f"{path}: can't be read: {reason}") from error
    problems: list[Problem] = []
    documents = read_documents(text, str(path), problems)
    raise_problems(problems)
    document = documents[0] if len(documents) == 1 else None
    if not isinstance(document, Mapping):
        raise ConfigurationError(f"{path}: expected one document, a mapping, and nothing else")
    value = plain(document)
    raise_problems([_problem(each, document) for each in misfits(value, struct)])
    raise_problems(_unsourced(msgspec.convert(value, struct), document))
    return document


def _problem(misfit: Misfit, document: Node) -> Problem:
    path, text, lacks, known = misfit
    if known is not None:
        return Problem(key_place(document, path), text)
    said = f'missing key "{lacks}"' if lacks else text
    return Problem(find(document, path).place, f"{path[-1] if path else 'the model'}: {said}")


def _unsourced(made: Any, node: Node) -> list[Problem]:
    """A problem for each figure that does not say where it comes from."""
    if isinstance(made, dict):
        return [each for key, value in made.items() for each in _unsourced(value, find(node, (key,)))]
    if not isinstance(made, msgspec.Struct):
        return []
    problems = []
    if getattr(made, "source", None) == "":
        problems.append(Problem(node.place, 'missing key "source": say where these figures come from'))
    if isinstance(node, Mapping):
        for name in made.__struct_fields__:
            if name in node.entries:
                problems += _unsourced(getattr(made, name), node.entries[name].node)
    return problems


def _without_sources(node: Mapping) -> Mapping:
    entries: dict[str, Entry] = {}
    for key, entry in node.entries.items():
        if key not in ("source", "about"):
            inside = _without_sources(entry.node) if isinstance(entry.node, Mapping) else entry.node
            entries[key] = Entry(entry.place, inside)
    return Mapping(entries, node.place)


# --- in an experiment -------------------------------------------------------------------------------


def with_model(document: Node, folder: Path, problems: list[Problem]) -> Node:
    """The document with its backend's model in the place of the model's name, where the backend simulates.

    folder: what a path is relative to. What is wrong with the model goes to `problems`.
    """
    backend = document.entries.get("backend") if isinstance(document, Mapping) else None
    if not isinstance(document, Mapping) or backend is None or not simulates(document):
        return document
    options = backend.node.entries if isinstance(backend.node, Mapping) else {"name": backend}
    given = options.get("latency")
    if given is not None and not (isinstance(given.node, Scalar) and isinstance(given.node.value, str)):
        return document
    name = DEFAULT if given is None else given.node.value if isinstance(given.node, Scalar) else ""
    place = backend.place if given is None else given.place
    model: Node
    try:
        model = read_model_node(find_model(name, folder))
    except ConfigurationError as error:
        problems.extend(_said(str(error), place))
        model = Mapping({}, place)
    changed = Mapping({**options, "latency": Entry(place, model)}, backend.node.place)
    return Mapping({**document.entries, "backend": Entry(backend.place, changed)}, document.place)


def _said(text: str, place: Place) -> list[Problem]:
    """Lines that name places in the model's own file, or are about its name."""
    return [Problem(place, line, elsewhere=not line.startswith("latency:")) for line in text.split("\n")]


def simulates(document: Node) -> bool:
    """Whether the backend of a document is one that simulates."""
    name = plain(find(document, ("backend", "name")))
    try:
        return isinstance(name, str) and backend_class(name).virtual_time
    except UnknownPlugin:
        return False  # said when the backend is made


def check_durations(form: ExperimentForm, workload: Workload, node: Node, problems: list[Problem]) -> None:
    """In virtual time nothing but a known duration can pass, whatever a task would really do."""
    backend = form.backend.plugin
    if not backend_class(backend.name).virtual_time or workload.ideal_s(form.workers[0]) is not None:
        return
    latency = backend.options.get("latency")
    if isinstance(latency, dict) and "tasks" in latency:
        return
    problems.append(
        Problem(
            find(node, ("workload", "kind")).place,
            f'the kind "{workload.kind.name}" does real work, which the backend "{backend.name}" can\'t hold '
            "in virtual time, and does not say how long a task takes. Run some of them on sqlite, then "
            "`kon calibrate` that run: its model, named as the backend's latency, has the duration",
        )
    )
