"""`kon init`: a first experiment to start from."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from kon.cli.group import kon
from kon.cli.init import STARTER
from kon.experiment import load
from kon.experiment.model import ExperimentForm

PROJECT = Path(__file__).parents[2]

FULL = Path("/dev/full")


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


@pytest.mark.skipif(not FULL.is_char_device(), reason="the system has no device that is always full")
def test_a_full_disk_leaves_nothing_in_the_way_of_the_next_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(self: Path, *arguments: Any, **options: Any) -> Any:
        file = plain(self, *arguments, **options)
        if self.name != "quickstart.yml" or "x" not in arguments:
            return file
        file.close()
        return plain(FULL, "w", buffering=1)

    plain = Path.open
    monkeypatch.setattr(Path, "open", opened)
    ended = init(str(tmp_path))
    assert ended.exit_code == 2
    assert "No space left on device; no file of it is left" in ended.stderr
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    assert init(str(tmp_path)).exit_code == 0


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    ended = init(str(tmp_path / "mine"))
    assert ended.exit_code == 2
    assert ended.stderr == f"kon: {tmp_path / 'mine'}: is a file. Name a folder: kon init FOLDER\n"


def test_the_next_step_can_be_pasted(tmp_path: Path) -> None:
    ended = init(str(tmp_path / "my project"))
    assert f"Next: cd '{tmp_path / 'my project'}' && kon run experiment.yml" in ended.stdout


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
