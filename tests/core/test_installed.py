"""What is installed next to kon is what importlib.metadata finds, without the time that it takes."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kon.core import distribution as installed


@pytest.fixture(autouse=True)
def _looked_through_each_time() -> Iterator[None]:
    for cached in (installed.entries, installed._distributions):
        cached.cache_clear()
    yield
    for cached in (installed.entries, installed._distributions):
        cached.cache_clear()


def registered() -> list[tuple[str, str, str]]:
    """What importlib.metadata says of the same path."""
    groups = ("kon.backends", "kon.kinds", "kon.strategies")
    return sorted((g, e.name, e.value) for g in groups for e in importlib.metadata.entry_points(group=g))


def put(place: Path, folder: str, text: str | None = "[kon.kinds]\nown = own:Own\n") -> None:
    made = place / folder
    made.mkdir(parents=True)
    name, _, version = folder.rpartition(".")[0].partition("-")
    (made / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (made / "PKG-INFO").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    if text is not None:
        (made / "entry_points.txt").write_text(text)


def _twice(place: Path) -> None:
    put(place / "a", "My_Lab-1.0.dist-info", "[kon.kinds]\none = lab:One\n")
    put(place / "b", "my.lab-2.0.dist-info", "[kon.kinds]\ntwo = lab:Two\n")


def _zipped(place: Path) -> None:
    with zipfile.ZipFile(place / "a.zip", "w") as file:
        file.writestr("lab-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: lab\nVersion: 1\n")
        file.writestr("lab-1.dist-info/entry_points.txt", "[kon.kinds]\nzipped = lab:Zipped\n")


def _egg(place: Path) -> None:
    put(place / "lab-1.egg", "EGG-INFO")
    (place / "lab-1.egg" / "EGG-INFO" / "entry_points.txt").write_text("[kon.kinds]\nin_egg = lab:Egg\n")


SPELT = """
# a comment
[console_scripts]
own = own:main

[kon.kinds]
  own=own.kinds : Own
; = odd
# shell = not:This
[ kon.kinds ]
spaced = own:Spaced
[kon.strategies]
hope = own:Hope [extra]
[other.kon.kinds]
none = own:None_
"""

PLACES: dict[str, Callable[[Path], object]] = {
    "nothing": lambda place: None,
    "one": lambda place: put(place / "a", "own-1.dist-info"),
    "egg-info": lambda place: put(place / "a", "own-1.egg-info"),
    "of a name that is taken": lambda place: put(place / "a", "o-1.dist-info", "[kon.kinds]\nshell = o:O\n"),
    "of other letters": lambda place: put(place / "a", "Own-1.DIST-INFO"),
    "nothing registered": lambda place: put(place / "a", "own-1.dist-info", None),
    "spelt oddly": lambda place: put(place / "a", "own-1.dist-info", SPELT),
    "a distribution twice": _twice,
    "in a zip file": _zipped,
    "in an egg": _egg,
}


@pytest.mark.parametrize("case", PLACES)
def test_what_is_registered_is_what_importlib_finds(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    PLACES[case](tmp_path)
    added = [str(tmp_path / name) for name in ("a", "b", "a.zip", "lab-1.egg", "nowhere")]
    monkeypatch.setattr(sys, "path", [*added, *sys.path])
    importlib.invalidate_caches()
    before = len(registered())
    assert sorted(tuple(entry) for entry in installed.entries()) == registered()
    assert before >= 18


def test_what_another_finder_finds_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    put(tmp_path, "own-1.dist-info")

    class Finder(importlib.metadata.DistributionFinder):
        def find_distributions(self, context: object = None) -> list[importlib.metadata.Distribution]:
            return [importlib.metadata.PathDistribution(tmp_path / "own-1.dist-info")]

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder()])
    assert ("kon.kinds", "own", "own:Own") in installed.entries()


@pytest.mark.parametrize("version", ["1.2.3", "1.0rc1", "1!2.0", "1.0+local.1"])
def test_a_version_is_that_of_the_distribution(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, f"some_lab-{version.replace('+', '_')}.dist-info", None)
    (tmp_path / f"some_lab-{version.replace('+', '_')}.dist-info" / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: some-lab\nVersion: {version}\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert installed.version_of("some.lab") == version == importlib.metadata.version("some.lab")


def test_a_distribution_that_is_not_there_is_said_to_be_none() -> None:
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        installed.version_of("nobody-has-this")


def test_a_command_starts_without_what_it_does_not_need(tmp_path: Path) -> None:
    """importlib.metadata alone took a fifth of the start of `kon map`."""
    program = (
        "import sys; sys.argv = ['kon', 'map', '--dry-run', 'true', ':::', '1']\n"
        "try:\n    from kon.cli import main; main()\nexcept SystemExit:\n    pass\nprint(*sys.modules)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    loaded = set(ended.stdout.split())
    assert "kon.cli.map" in loaded
    needless = {"importlib.metadata", "email", "tomllib", "difflib", "zipfile", "rich", "pydantic", "boto3"}
    assert not needless & loaded
