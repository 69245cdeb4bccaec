"""The layers of docs/design.md: imports go down only."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

FLOORS = (
    # values and abstract classes; and web, pictures and animoto, which know errors and objects alone
    "animoto pictures web errors task queue ledger objects kind dedup clock backend run suggest journal "
    "scratch",
    # worlds, and what may differ
    "backends kinds strategies sim",
    # what runs and reads all stand on
    "control packing pages patience timings events records plugins lock joining eventloop prices logs",
    # how a task is run
    "holding settle intake executor worker client",
    # what is drawn from records
    "report tracing",
    # the same while it goes on
    "live",
    # what to run, and where; and what workers tell meanwhile
    "metrics emulator experiment process supervise liveness crew hosts local resume checkup campaign host "
    "apart api prove simulated plan calibrate provision fleet autoscale restore budget notice",
    "cli",
)
"""From the bottom up."""

LAYERS = {name: floor for floor, names in enumerate(FLOORS) for name in names.split()}

ONLY_VALUES = {"backends", "kinds", "strategies"}
"""These import values, abstract classes and themselves, and nothing else of kon's."""


def part_of(module: str) -> str | None:
    """The layer's name for a module: `kon.backends.sqlite.queue` is of `backends`."""
    names = module.split(".")
    if names[0] == "strategies":
        return "strategies"
    if names[0] != "kon":
        return None
    return names[1] if len(names) > 1 else "kon"


def imports(file: Path) -> set[str]:
    """The modules of kon's that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            if node.module == "kon":
                found.update(f"kon.{alias.name}" for alias in node.names)
    return {module for module in found if part_of(module) is not None}


FILES = sorted([*(ROOT / "kon").rglob("*.py"), *(ROOT / "strategies").rglob("*.py")])


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_imports_go_down(file: Path) -> None:
    module = ".".join(file.relative_to(ROOT).with_suffix("").parts)
    here = part_of(module.removesuffix(".__init__"))
    if here in (None, "kon", "__main__"):
        return  # the package itself: what it offers to users
    assert here in LAYERS, f'"{here}" stands in no layer; give it one here and in docs/design.md'
    for imported in imports(file):
        there = part_of(imported)
        if there in (here, "kon"):
            continue
        assert there in LAYERS, f'"{there}" stands in no layer'
        allowed = 0 if here in ONLY_VALUES else LAYERS[here]
        assert LAYERS[there] <= allowed, f"{module} imports {imported}, which is above it"


def test_every_layer_is_there() -> None:
    """A name that stands for nothing any more would allow anything."""
    for name in LAYERS:
        place = ROOT / "kon" / name if name != "strategies" else ROOT / name
        assert place.is_dir() or place.with_suffix(".py").is_file(), f"kon/{name} is gone"
