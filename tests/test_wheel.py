"""The wheel works by itself: built from the sdist, installed outside the tree, without a network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
METADATA = tomllib.loads((PROJECT / "pyproject.toml").read_text())
SOURCES = ("kon", "strategies", "pyproject.toml", "README.md", "LICENSE")

SIMULATED = """\
name: simulated
backend: {name: sim, latency: aws-us-east-1}
workload: {kind: sleep, count: 20, seconds: 0.1}
"""
OWN = "from strategies.lease import Lease\n\n\nclass Mine(Lease):\n    name = 'mine'\n"


def checked(command: list[str | Path], cwd: Path, **environment: str) -> str:
    ended = subprocess.run(
        command, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, f"{command}\n{ended.stdout}\n{ended.stderr}"
    return ended.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the sdist, which is built from a copy, as setuptools leaves things where it builds."""
    place = tmp_path_factory.mktemp("built")
    for name in SOURCES:
        if (PROJECT / name).is_dir():
            skipped = shutil.ignore_patterns("__pycache__")
            shutil.copytree(PROJECT / name, place / "copy" / name, symlinks=True, ignore=skipped)
        else:
            shutil.copy(PROJECT / name, place / "copy" / name)
    build = "import sys; from setuptools.build_meta import build_sdist; build_sdist(sys.argv[1])"
    checked([sys.executable, "-c", build, place], place / "copy")
    [sdist] = place.glob("cloudkon-*.tar.gz")
    pip: list[str | Path] = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    checked([*pip, "wheel", "--no-deps", "--no-index", "--no-build-isolation", "-w", place, sdist], place)
    [built] = place.glob("cloudkon-*.whl")
    return built


@pytest.fixture(scope="module")
def bin_(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a virtualenv that has the wheel, and what it depends on, but not this checkout."""
    place = tmp_path_factory.mktemp("installed")
    venv.create(place / "env", with_pip=False, symlinks=True)
    for each in Path(sysconfig.get_path("purelib")).iterdir():
        if "cloudkon" not in each.name:
            (place / "libraries").mkdir(exist_ok=True)
            (place / "libraries" / each.name).symlink_to(each)
    python = place / "env" / "bin" / "python"
    pip: list[str | Path] = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python]
    checked([*pip, "install", "--quiet", "--no-deps", "--no-index", wheel], place)
    [site] = (place / "env" / "lib").glob("python*/site-packages")
    (site / "libraries.pth").write_text(f"{place / 'libraries'}\n")
    where = checked([python, "-c", "import kon; print(kon.__file__)"], place, PYTHONPATH="")
    assert where.startswith(str(site)), where
    return python.parent


@pytest.mark.long
def test_the_wheel_holds_one_package_and_every_file_that_it_reads(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        files = archive.namelist()
        [metadata] = [name for name in files if name.endswith(".dist-info/METADATA")]
        text = archive.read(metadata).decode()
    assert {name.split("/")[0] for name in files} == {"kon", metadata.split("/")[0]}
    assert "Name: cloudkon\n" in text
    for extra in METADATA["project"]["optional-dependencies"]:
        assert f"Provides-Extra: {extra}\n" in text
    tree = {path.relative_to(PROJECT).as_posix() for path in (PROJECT / "kon").rglob("*") if path.is_file()}
    tree |= {f"kon/{path.relative_to(PROJECT).as_posix()}" for path in (PROJECT / "strategies").rglob("*.py")}
    missing = {name for name in tree - set(files) if "__pycache__" not in name and not name.endswith(".md")}
    assert missing == set()


def test_the_distribution_is_called_by_its_own_name_everywhere() -> None:
    """`kon` on PyPI is another project's: nobody may be told to install that, or be asked for its version."""
    former = (f"'{'kon'}[", f'version("{"kon"}")')
    pages = [*(PROJECT / "docs").glob("*.md"), PROJECT / "README.md", PROJECT / "CONTRIBUTING.md"]
    for file in [*(PROJECT / "kon").rglob("*.py"), *(PROJECT / "playbooks").rglob("*.yml"), *pages]:
        said = file.read_text()
        assert not any(words in said for words in former), file


@pytest.mark.long
def test_what_is_installed_runs(bin_: Path, tmp_path: Path) -> None:
    def kon(*arguments: str) -> str:
        path = f"{bin_}:{os.environ['PATH']}"
        return checked([bin_ / "kon", *arguments], tmp_path, PYTHONPATH="", PATH=path)

    assert "experiment.yml" in kon("init")
    kon("validate", "experiment.yml", "quickstart.yml")
    assert "hello-lease-w2-r1" in kon("run", "experiment.yml", "--quiet")
    assert "one has 3 characters" in kon("results", "hello-lease-w2-r1")
    assert sorted(kon("map", "echo {}", ":::", "a", "b").split()) == ["a", "b"]
    (tmp_path / "simulated.yml").write_text(SIMULATED)
    assert "simulated" in kon("run", "simulated.yml", "--quiet")
    assert "prices of us-east-1" in kon("plan", "simulated.yml", "--quiet")
    kon("prove", "lease", "--seeds", "20")
    kon("report", "hello-lease-w2-r1", "--out", "page.html")
    assert (tmp_path / "page.html").stat().st_size > 0


def found(python: Path, place: Path) -> dict[str, tuple[str, str]]:
    """What `kon doctor` says of each extra: its level, and what there is."""
    path = f"{python.parent}:{os.environ['PATH']}"
    told = json.loads(checked([python.parent / "kon", "doctor", "--json"], place, PYTHONPATH="", PATH=path))
    checks = [each for each in told["checks"] if each["check"].startswith("extra ")]
    return {each["check"].removeprefix("extra "): (each["level"], each["found"]) for each in checks}


@pytest.mark.long
def test_doctor_looks_at_every_extra_that_the_wheel_names(bin_: Path, tmp_path: Path) -> None:
    extras = found(bin_ / "python", tmp_path)
    assert extras.keys() == METADATA["project"]["optional-dependencies"].keys()
    assert {level for level, _ in extras.values()} == {"ok"}, extras


@pytest.mark.slow
@pytest.mark.parametrize("extra", METADATA["project"]["optional-dependencies"])
def test_each_extra_installs_into_an_empty_environment(wheel: Path, tmp_path: Path, extra: str) -> None:
    """From the package index."""
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    checked([python, "-m", "pip", "install", "--quiet", f"{wheel}[{extra}]"], tmp_path)
    assert found(python, tmp_path)[extra][0] == "ok"
    checked([python.parent / "kon", "init"], tmp_path, PYTHONPATH="")
    checked([python.parent / "kon", "run", "experiment.yml", "--quiet"], tmp_path, PYTHONPATH="")


@pytest.mark.long
def test_strategies_are_a_part_of_kon_and_their_former_name_still_serves(bin_: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(OWN)
    text = "name: x\nstrategies: ['mine:Mine']\nworkload: {kind: sleep, items: [0]}\n"
    (tmp_path / "x.yml").write_text(text)
    has = "import importlib.util as u; print(u.find_spec('strategies'), u.find_spec('kon.strategies').name)"
    assert checked([bin_ / "python", "-c", has], tmp_path, PYTHONPATH="").split() == [
        "None",
        "kon.strategies",
    ]
    assert "x-mine-Mine-w1-r1" in checked([bin_ / "kon", "run", "x.yml", "--quiet"], tmp_path, PYTHONPATH="")
