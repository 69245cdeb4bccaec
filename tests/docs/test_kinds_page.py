"""docs/kinds.md: its examples run, its tables have every option with its default, and no kind is left out."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from click.testing import CliRunner

from kon.cli.group import kon
from kon.core.options import Options
from kon.core.plugins import names
from kon.kinds.image import ImageOptions
from kon.kinds.mirror import MirrorOptions
from kon.kinds.transcode import TranscodeOptions
from tests.kinds.test_transcode import video
from tests.kinds.video.given import encoded, photo

PAGE = (Path(__file__).parents[2] / "docs" / "kinds.md").read_text()
SECTIONS = dict(re.findall(r"^## (.+)\n((?:(?!## ).*\n)*)", PAGE, re.MULTILINE))
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


@pytest.mark.long
def test_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("photos", "store/pictures", "store/clips"):
        Path(folder).mkdir(parents=True)
    for number in (1, 2):
        for folder in ("photos", "store/pictures"):
            (tmp_path / folder / f"{number}.jpg").write_bytes(encoded(photo(300, 200, number)))
    video(tmp_path / "store" / "clips" / "a.mp4", 5)
    examples = [each for each in EXAMPLES if shutil.which("ffmpeg") or "kind: transcode" not in each]
    Path("all.yml").write_text("---\n".join(examples))
    ended = CliRunner().invoke(kon, ["run", "all.yml", "--json", "--quiet"], prog_name="kon")
    assert ended.exit_code == 0, ended.output
    rows = json.loads(ended.stdout)["runs"]
    assert len(rows) == len(examples)
    assert all(row["done"] == row["tasks"] for row in rows)
    made = {each.relative_to("store").as_posix() for each in Path("store").rglob("*") if each.is_file()}
    assert {"sums/1.sum", "web/1.jpg", "small/1.jpg", "web-notes/web/2.jpg.json"} <= made


def test_every_kind_has_an_example_or_a_page_of_its_own() -> None:
    shown = {yaml.safe_load(example)["workload"]["kind"] for example in EXAMPLES}
    assert shown | {"animoto"} == set(names("kon.kinds"))


@pytest.mark.parametrize(
    ("section", "options"),
    [("mirror", MirrorOptions), ("image", ImageOptions), ("transcode", TranscodeOptions)],
)
def test_every_option_is_there_with_its_default(section: str, options: type[Options]) -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*?) ?\| .+ \|$", SECTIONS[section], re.MULTILINE)
    said = {key: yaml.safe_load(default.strip("`")) if default else None for key, default in rows}
    has: dict[str, Any] = {}
    for field in msgspec.structs.fields(options):
        if field.name in Options.__struct_fields__:
            continue
        if field.default_factory is not msgspec.NODEFAULT:
            has[field.name] = field.default_factory()
        elif field.default is not msgspec.NODEFAULT:
            has[field.name] = list(field.default) if isinstance(field.default, tuple) else field.default
        else:
            has[field.name] = None
    assert said == has
