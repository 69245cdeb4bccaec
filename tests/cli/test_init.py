"""`kon init`: a first experiment to start from."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from click.testing import CliRunner, Result

from kon.cli.group import kon
from kon.cli.init import STARTER
from kon.experiment import load
from kon.experiment.model import ExperimentForm

PROJECT = Path(__file__).parents[2]


def init(*arguments: str) -> Result:
    return CliRunner().invoke(kon, ["init", *arguments], prog_name="kon")


def test_what_is_written_is_valid(tmp_path: Path) -> None:
    ended = init(str(tmp_path / "new" / "project"))
    assert ended.exit_code == 0, ended.output
    written = {file.name for file in (tmp_path / "new" / "project").iterdir()}
    assert written == {"experiment.yml", "quickstart.yml", "experiment.schema.json"}
    [first] = load(tmp_path / "new" / "project" / "experiment.yml")
    assert first.workload.count(2) == 3
    assert len(load(tmp_path / "new" / "project" / "quickstart.yml")) == 2
    assert f"cd {tmp_path / 'new' / 'project'} && kon run experiment.yml" in ended.output


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "quickstart.yml").write_text("mine")
    ended = init(str(tmp_path))
    assert ended.exit_code == 2
    assert ended.stderr.startswith(
        f"kon: {tmp_path / 'quickstart.yml'}: there already, so that nothing was written"
    )
    assert [file.name for file in tmp_path.iterdir()] == ["quickstart.yml"]
    assert (tmp_path / "quickstart.yml").read_text() == "mine"


def test_keys_that_are_commented_out_stand_with_their_defaults() -> None:
    text = (STARTER / "experiment.yml").read_text()
    said = yaml.safe_load("\n".join(re.findall(r"^# ([a-z_]+: .+)$", text, re.MULTILINE)))
    assert {"backend", "strategies", "slots", "attempts", "visibility_s", "faults"} <= said.keys()
    form = {"name": "x", "workload": {"kind": "sleep"}}
    default = ExperimentForm.model_validate(form)
    assert ExperimentForm.model_validate({**form, **said}) == default


def test_the_second_half_of_the_quickstart_is_the_projects_own() -> None:
    ours = (PROJECT / "workloads" / "quickstart.yml").read_text().split("---\n")[2]
    assert (STARTER / "quickstart.yml").read_text().split("---\n")[2] == ours
