"""docs/animoto.md: its table has every option with its default."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import yaml

from docs.site import looks
from kon.kinds.animoto import AnimotoOptions
from kon.kinds.video.film import LOOKS
from kon.kinds.video.moves import TRANSITIONS

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


def test_every_look_is_shown_and_its_pictures_are_small() -> None:
    shown = set(re.findall(r"\]\(pictures/(look-[\w.-]+)\)", PAGE))
    drawn = {each.name for each in looks.FOLDER.glob("look-*")}
    assert shown == drawn == {*(f"{name}.jpg" for name in looks.SHEETS), f"{looks.GIF}.gif"}
    assert sum((looks.FOLDER / name).stat().st_size for name in drawn) <= looks.MOST_BYTES


def test_every_option_of_a_look_that_is_seen_is_in_a_picture() -> None:
    strips = [strip for sheet in looks.SHEETS.values() for strip in sheet.strips]
    seen = {name for strip in strips for name in strip.options} | {"format", "fps", "size"}
    assert set(LOOKS) - seen == UNSEEN
    named = {strip.options["transition"] for strip in strips if "transition" in strip.options}
    assert named == set(TRANSITIONS)


UNSEEN = {
    *("repeat", "preset", "crossfade_s", "title_s", "end_s", "poster", "audio_loop", "audio_fade_s"),
    "caption_font",
}
"""Options that change no frame, or only how long it is there; and a font, which hosts have for themselves."""
