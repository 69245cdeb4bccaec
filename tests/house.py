"""The rooms of `kon/`: the one list, what the code makes of it, and the map that `make map` prints.

    python -m tests.house            the map: rooms, floors, files, lines, arrows
    python -m tests.house ROOM       its files, each with what it says of itself: `make map ARGS=report`
    python -m tests.house --write    draws the list into CONTRIBUTING.md and docs/design.md

A room imports from lower floors only, never from its own floor, and has no circle of imports inside.
"""

from __future__ import annotations

import ast
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

PROJECT: Final = Path(__file__).parents[1]


@dataclass(frozen=True)
class Room:
    """A top-level package.

    floor: rooms import from floors with a smaller number.
    question: whoever answers yes has found the room for a new line.
    """

    name: str
    floor: int
    holds: str
    question: str


ROOMS: Final = (
    Room(
        "cli",
        7,
        "One file per command: options, words, exit codes.",
        "Does it read the command line, print, or catch a signal?",
    ),
    Room(
        "api",
        6,
        "`kon.map`, `kon.submit`, `kon.gather`, `open_run`: a Python program drives a run.",
        "Does a user's Python program call it?",
    ),
    Room(
        "trials",
        5,
        "Simulated tries before anyone pays: `prove/` searches schedules, `plan/` forecasts time and cost.",
        "Does it run something that is not real, to learn from it?",
    ),
    Room(
        "launch",
        4,
        "Who starts a run, where its workers live, how it is resumed, paused, limited and ended.",
        "Does it start, find, stop or wait for the processes or hosts of a run?",
    ),
    Room(
        "fleet",
        4,
        "EC2 hosts and whatever is left in the account: sweep, autoscale, up, down, cold storage.",
        "Is it useless without an AWS account?",
    ),
    Room(
        "experiment",
        3,
        "The YAML file: reading, the place of each error, the runs that it lays out.",
        "Is it about a key of the experiment file?",
    ),
    Room(
        "report",
        3,
        "All that is drawn from records; `read/` is the one reader.",
        "Does it only read records?",
    ),
    Room(
        "engine",
        2,
        "A task's way: client, queue, worker (intake, executor, settler), answers; `records/` writes.",
        "Does it touch a task between its submission and its answer?",
    ),
    Room(
        "backends",
        2,
        "Stores and services: memory, sqlite, aws, sim; the emulators and prices.",
        "Is it about one store or service?",
    ),
    Room(
        "kinds",
        2,
        "Kinds of work: shell, python, animoto and so on; `video/`, `pictures/` and `web/` are their tools.",
        "Is it about what one task does?",
    ),
    Room(
        "strategies",
        2,
        "Ways of de-duplication, in the folder `strategies/` next to `kon/`, as `kon.strategies`.",
        "Does it decide whether a task runs?",
    ),
    Room(
        "core",
        1,
        "Values and abstract classes that run nothing: Task, RunSpec, Queue, Ledger, Strategy, Kind, errors.",
        "Does every room need it?",
    ),
)
"""From the top floor down."""

FLOOR: Final = {room.name: room.floor for room in ROOMS}

FLAT: Final = frozenset({"__init__", "__main__", "dedup", "errors", "kind", "ledger", "task"})
"""Modules that stand flat in kon/: the package itself, and former places of names that people's own
strategies and kinds import, kept for one release."""


TINY_LINES: Final = 25
"""A file with fewer lines is a part of another one, where only that one imports it."""


@cache
def modules() -> Mapping[str, Path]:
    """Every module of kon, by its dotted name."""
    linked = PROJECT / "kon" / "strategies"  # to the folder strategies/, and so passed over above
    files = [*(PROJECT / "kon").rglob("*.py"), *linked.glob("*.py")]
    return {_dotted(file): file for file in sorted(files)}


def _dotted(file: Path) -> str:
    parts = file.relative_to(PROJECT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


def room_of(module: str) -> str | None:
    """Name of the room that a module stands in; None for what stands flat in `kon/`."""
    _, *rest = module.split(".")
    return rest[0] if rest and rest[0] not in FLAT else None


@cache
def imports_of(module: str) -> frozenset[str]:
    """The modules of kon that a module imports, in functions and for types as well."""
    return frozenset(_resolved(ast.walk(tree_of(modules()[module]))))


@cache
def imports_at_load(module: str) -> frozenset[str]:
    """The modules of kon that are loaded when this one is."""

    def loaded(body: Iterable[ast.stmt]) -> Iterator[ast.AST]:
        for node in body:
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                yield node
            elif isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.unparse(node.test):
                yield from loaded(node.body + node.orelse)

    return frozenset(_resolved(loaded(tree_of(modules()[module]).body)))


def _resolved(nodes: Iterable[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.split(".")[0] == "kon":
                yield name if name in modules() else name.rpartition(".")[0]


def arrows() -> dict[tuple[str, str], int]:
    """How many imports lead from one room to another."""
    found: dict[tuple[str, str], int] = {}
    for module in modules():
        here = room_of(module)
        for imported in imports_of(module):
            there = room_of(imported)
            if here and there and here != there:
                found[here, there] = found.get((here, there), 0) + 1
    return found


def circle(members: Iterable[str]) -> list[str] | None:
    """Modules that import each other in a circle, those of `members` only; None where there is none.

    A package's `__init__` offers its modules' names: an import of the package itself counts as one of it,
    not of all its modules.
    """
    inside = frozenset(members)
    done: set[str] = set()

    def walk(module: str, way: list[str]) -> list[str] | None:
        if module in way:
            return [*way[way.index(module) :], module]
        if module in done:
            return None
        for imported in sorted(imports_at_load(module) & inside - {module}):
            found = walk(imported, [*way, module])
            if found:
                return found
        done.add(module)
        return None

    for module in sorted(inside):
        found = walk(module, [])
        if found:
            return found
    return None


def members_of(room: str) -> list[str]:
    return [module for module in modules() if room_of(module) == room]


def doubles() -> dict[str, list[str]]:
    """Public classes whose name stands more than once in `kon/`, each with the modules that it stands in."""
    found: dict[str, list[str]] = {}
    for module, file in modules().items():
        for node in tree_of(file).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found.setdefault(node.name, []).append(module)
    return {name: where for name, where in found.items() if len(where) > 1}


def unused() -> list[str]:
    """Private names at the top of a module that stand nowhere else in it. What a decorator takes is used."""
    found = []
    for module, file in modules().items():
        text = file.read_text()
        for node in tree_of(file).body:
            names: list[str] = []
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                names = [] if node.decorator_list else [node.name]
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names = [each.id for each in targets if isinstance(each, ast.Name)]
            private = (name for name in names if name.startswith("_") and not name.startswith("__"))
            found += [f"{module}.{name}" for name in private if len(re.findall(rf"\b{name}\b", text)) == 1]
    return found


def tiny() -> dict[str, str]:
    """Modules of fewer than `TINY_LINES` lines, each with the only module that imports it."""
    users: dict[str, set[str]] = {}
    for module in modules():
        for imported in imports_of(module) - {module}:
            users.setdefault(imported, set()).add(module)
    return {
        module: next(iter(by))
        for module, by in users.items()
        if len(by) == 1
        and modules()[module].name != "__init__.py"
        and room_of(module) != "strategies"  # a strategy is a file of its own, whoever builds on it
        and _lines([modules()[module]]) < TINY_LINES
    }


def parameters() -> dict[str, int]:
    """How many parameters the `__init__` of each class takes, without self: by `module.Class`."""
    return {
        f"{module}.{made.name}": len([*each.args.posonlyargs, *each.args.args, *each.args.kwonlyargs]) - 1
        for module, file in modules().items()
        for made in ast.walk(tree_of(file))
        if isinstance(made, ast.ClassDef)
        for each in made.body
        if isinstance(each, ast.FunctionDef) and each.name == "__init__"
    }


def late() -> list[str]:
    """Constants that stand below their first use, and could stand above it: `module.NAME` of each."""
    return [f"{module}.{name}" for module, file in modules().items() for name in _late(file)]


def _late(file: Path) -> Iterator[str]:
    statements = tree_of(file).body
    made: dict[str, int] = {}
    for place, statement in enumerate(statements):
        for name in _names_made(statement):
            made.setdefault(name, place)
    used: dict[str, int] = {}
    for place, statement in enumerate(statements):
        for name in _names_read(statement):
            used.setdefault(name, place)

    def must_stand_below(name: str, place: int) -> bool:
        """Whether its value takes what stands at `place` or below, such as a function."""
        below = [each for each in _names_read(statements[made[name]]) if made.get(each, -1) >= place]
        return any(not each.isupper() or must_stand_below(each, place) for each in below if each != name)

    for name, place in made.items():
        first = used.get(name, place)
        if name.isupper() and first < place and not must_stand_below(name, first):
            yield name


def _names_made(statement: ast.stmt) -> Iterator[str]:
    match statement:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.Assign(targets=targets):
            yield from (target.id for target in targets if isinstance(target, ast.Name))
        case ast.AnnAssign(target=ast.Name(id=name)):
            yield name


def _names_read(statement: ast.stmt) -> Iterator[str]:
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            yield node.id


def _lines(files: Iterable[Path]) -> int:
    return sum(len(file.read_text().splitlines()) for file in files)


def map_lines() -> Iterator[str]:
    """The map, for a terminal of 80 columns."""
    led = arrows()
    yield f"{'floor':5}  {'room':10}  {'files':>5}  {'lines':>6}  imports"
    for room in ROOMS:
        files = [modules()[module] for module in members_of(room.name)]
        downs = sorted({there for here, there in led if here == room.name}, key=lambda name: -FLOOR[name])
        row = f"{room.floor:>5}  {room.name:10}  {len(files):>5}  {_lines(files):>6,}  "
        yield row + (" ".join(downs) or "nothing")
    files = list(modules().values())
    yield ""
    yield f"{len(ROOMS)} rooms on {len(set(FLOOR.values()))} floors, {len(led)} arrows between rooms."
    yield f"{len(files)} files, {_lines(files):,} lines."


def file_lines(room: str) -> Iterator[str]:
    """The files of a room, each with its number of lines and the first sentence of its docstring.

    What is no Python, such as prices and styles, stands among them.
    """
    for file in sorted([*(modules()[module] for module in members_of(room)), *_others(room)]):
        said = ""
        if file.suffix == ".py":
            said = ast.get_docstring(tree_of(file)) or ""
        name = str(file.relative_to(PROJECT / "kon" / room)).removesuffix("__init__.py")
        first = " ".join(said.split("\n\n")[0].split())
        lines = "" if file.suffix == ".ttf" else _lines([file])
        yield f"{name or '.':26} {lines:>4}  {textwrap.shorten(first, 96, placeholder=' ...')}".rstrip()


def _others(room: str) -> list[Path]:
    """Files of a room that are no Python."""
    folder = PROJECT / "kon" / room
    return [
        file
        for file in folder.rglob("*")
        if file.is_file() and file.suffix not in (".py", ".pyc") and file.name != "py.typed"
    ]


def listed() -> str:
    """The list of rooms as a table of Markdown."""
    rows = ["| floor | room | what belongs there | ask |", "|---|---|---|---|"]
    rows += [f"| {room.floor} | `{room.name}` | {room.holds} | {room.question} |" for room in ROOMS]
    return "\n".join(rows)


PAGES: Final = (PROJECT / "CONTRIBUTING.md", PROJECT / "docs" / "design.md")
_BLOCK: Final = re.compile(
    r"(<!-- rooms: make map ARGS=--write -->\n).*?(\n<!-- end of rooms -->)", re.DOTALL
)


def drawn(page: str) -> str:
    """The page with the list of rooms as it is now. Raises ValueError where the page has no place for it."""
    text, count = _BLOCK.subn(lambda found: found[1] + listed() + found[2], page)
    if count != 1:
        raise ValueError(f"the page has {count} places for the list of rooms; it needs one")
    return text


def main() -> None:
    if sys.argv[1:] == ["--write"]:
        for page in PAGES:
            page.write_text(drawn(page.read_text()))
    elif len(sys.argv) == 2 and sys.argv[1] in FLOOR:
        print("\n".join(file_lines(sys.argv[1])))
    elif sys.argv[1:]:
        sys.exit(f"usage: python -m tests.house [--write | {' | '.join(FLOOR)}]")
    else:
        print("\n".join(map_lines()))


if __name__ == "__main__":
    main()
