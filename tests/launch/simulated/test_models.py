"""Models of a fleet: read from their files, and refused with the line that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from kon.backends.sim.backend import SimBackend
from kon.core.errors import ConfigurationError
from kon.core.plugins import open_backend
from kon.experiment import loads
from kon.experiment.models import DEFAULT, FOLDER, find_model, read_model

TEXT = (FOLDER / f"{DEFAULT}.yml").read_text()

EXPERIMENT = "name: x\nbackend: {backend}\nworkload: {{kind: sleep, count: 3, seconds: 0}}\n"


def changed(tmp_path: Path, old: str, new: str) -> Path:
    assert old in TEXT
    path = tmp_path / "changed.yml"
    path.write_text(TEXT.replace(old, new, 1))
    return path


@pytest.mark.parametrize("path", sorted(FOLDER.glob("aws*.yml")), ids=lambda path: path.stem)
def test_the_models_that_come_with_kon_can_be_read(path: Path) -> None:
    model = read_model(path)
    assert model.name == path.stem
    assert model.calls.by_name()["queue.send"].median_s > 0


@pytest.mark.parametrize(
    ("old", "new", "line", "text"),
    [
        ("    receive: {", "    recieve: {", 20, 'unknown key "recieve", did you mean "receive"?'),
        ("median_s: 0.0058", "median_s: -1", 13, "median_s: expected a number of at least 0, found -1"),
        ("      p99_s: 0.025\n", "", 13, 'send: missing key "p99_s"'),
        ("an_hour: 0.005", "an_hour: 1.5", 102, "an_hour: expected a number from 0 to 1, found 1.5"),
        ("median_s: 0.0058", "median_s: fast", 13, 'median_s: expected a number of at least 0, found "fast"'),
        ("median_s: 0.0058", "median_s: 7", 13, "send: median_s (7) is above p99_s (0.025)"),
        (
            "writes_per_s: 4000\n",
            "writes_per_s: 0\n",
            60,
            "writes_per_s: expected a number above 0 or null, found 0",
        ),
        ("t4g.micro: {vcpus", "t4g.micro: {cpus", 115, 'unknown key "cpus", did you mean "vcpus"?'),
        ("median_s: 0.0058", "median_s: .nan", 13, "expected a finite number, found .nan"),
        ("name: aws-us-east-1\n", "", 7, 'the model: missing key "name"'),
        ("  queue:\n    send:", "  queue:\n    fetch:", 12, 'unknown key "fetch"'),
    ],
)
def test_what_is_wrong_is_said_with_its_line(
    tmp_path: Path, old: str, new: str, line: int, text: str
) -> None:
    path = changed(tmp_path, old, new)
    with pytest.raises(ConfigurationError) as caught:
        read_model(path)
    assert caught.value.exit_code == 2
    assert str(caught.value).startswith(f"{path}:{line}:")
    assert text in str(caught.value)


def test_a_figure_without_a_source_is_refused(tmp_path: Path) -> None:
    path = changed(tmp_path, "  source: S3 performance guidelines, 2025 - for each prefix of a bucket\n", "")
    with pytest.raises(ConfigurationError, match=r'missing key "source": say where these figures come from'):
        read_model(path)


@pytest.mark.parametrize("text", ["", "- 1\n", "a: 1\n---\nb: 2\n"])
def test_a_file_that_is_no_model(tmp_path: Path, text: str) -> None:
    path = tmp_path / "m.yml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match="expected one document, a mapping"):
        read_model(path)


def test_names_and_paths(tmp_path: Path) -> None:
    assert find_model(DEFAULT, tmp_path) == FOLDER / f"{DEFAULT}.yml"
    with pytest.raises(
        ConfigurationError, match=r'unknown model "aws-us-est-1", did you mean "aws-us-east-1"\?'
    ):
        find_model("aws-us-est-1", tmp_path)
    with pytest.raises(ConfigurationError, match=r"there is no file .*none\.yml"):
        find_model("./none.yml", tmp_path)


def test_an_experiment_holds_the_model_itself_without_its_sources(tmp_path: Path) -> None:
    (tmp_path / "own.yml").write_text(TEXT.replace("median_s: 0.0058", "median_s: 0.0059"))
    by_default = loads(EXPERIMENT.format(backend="sim"), "x.yml", tmp_path)[0].cells()[0].spec
    named = loads(EXPERIMENT.format(backend=f"{{name: sim, latency: {DEFAULT}}}"), "x.yml", tmp_path)[0]
    own = loads(EXPERIMENT.format(backend="{name: sim, latency: ./own.yml}"), "x.yml", tmp_path)[0]
    assert by_default.key() == named.cells()[0].spec.key()
    assert "source" not in str(by_default.backend.options)
    # a model with other figures makes another run
    assert own.cells()[0].spec.key() != by_default.key()
    backend = open_backend(by_default.backend, Path())
    assert isinstance(backend, SimBackend)
    assert backend.fleet is not None
    assert backend.fleet.model.name == DEFAULT


def test_the_place_of_what_is_wrong_in_a_model_is_in_the_model(tmp_path: Path) -> None:
    changed(tmp_path, "    receive: {", "    recieve: {")
    with pytest.raises(ConfigurationError) as caught:
        loads(EXPERIMENT.format(backend="{name: sim, latency: ./changed.yml}"), "x.yml", tmp_path)
    assert f"{tmp_path / 'changed.yml'}:20:5: unknown key" in str(caught.value)


@pytest.mark.parametrize(
    ("backend", "text"),
    [
        ("{name: sim, latency: aws-us}", 'x.yml:2:22: latency: unknown model "aws-us"'),
        ("{name: sim, table: wram}", '"wram", did you mean "warm"? (it has: on_demand'),
        ("{name: sim, instance: t3.mikro}", '"t3.mikro", did you mean "t3.micro"?'),
        (
            "{name: sim, latency: null, table: warm}",
            '"table" of backend sim: chooses of a model, and latency names none',
        ),
        (
            "{name: sim, max_batch: 0}",
            '"max_batch" of backend sim: expected a whole number of at least 1, found 0',
        ),
        ("{name: sim, faults: {duplicate: 2}}", "a rate is from 0 to 1"),
    ],
)
def test_wrong_options(tmp_path: Path, backend: str, text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        loads(EXPERIMENT.format(backend=backend), "x.yml", tmp_path)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "more"), [("shell", "command: 'true'"), ("python", "function: 'os:getcwd'")]
)
def test_real_work_can_not_be_held_in_virtual_time(tmp_path: Path, kind: str, more: str) -> None:
    text = f"name: x\nbackend: sim\nworkload: {{kind: {kind}, {more}, items: [1, 2]}}\n"
    with pytest.raises(ConfigurationError, match=rf'x\.yml:3:18: the kind "{kind}" does real work'):
        loads(text, "x.yml", tmp_path)
