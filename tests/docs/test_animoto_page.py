"""docs/animoto.md: its table has every option with its default."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import yaml

from kon.kinds.animoto import AnimotoOptions

PAGE = (Path(__file__).parents[2] / "docs" / "animoto.md").read_text()
ROW = re.compile(r"^\| ((?:`\w+`(?:, )?)+) \| (.*?) ?\| .+ \|$", re.MULTILINE)


def test_every_option_is_there_with_its_default() -> None:
    said = {
        name: yaml.safe_load(default.strip("`")) if default else None
        for names, default in ROW.findall(PAGE)
        for name in re.findall(r"\w+", names)
    }
    declared = {
        name: value for name, value in msgspec.to_builtins(AnimotoOptions()).items() if name not in ("slots",)
    }
    assert said == {
        name: list(value) if isinstance(value, tuple) else value for name, value in declared.items()
    }
