"""Captions: every script, every length, above what moves."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image, features

from kon.core.errors import ConfigurationError
from kon.kinds.video import fonts
from kon.kinds.video.caption import Captions
from kon.kinds.video.film import Film
from kon.kinds.video.fonts import OWN, Face, Fonts
from kon.kinds.video.moves import Picture, Shot, frame_at
from kon.kinds.video.planes import Planes

FILM = Film(size="1280x720")
GREY = Planes(*(Image.new("L", size, 128) for size in ((1280, 720), (640, 360), (640, 360))))
NOBODY_HAS = "\U0001fae8"
"""An emoji, which comes in fonts of bitmaps."""


def shown(text: str, film: Film = FILM) -> tuple[Planes, str]:
    overlay, wrong = Captions(film).drawn(text)
    return overlay.over(GREY), wrong


def box(planes: Planes) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of all that is not the picture."""
    rows, columns = np.nonzero(np.asarray(planes.y) != 128)
    return int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max())


@pytest.mark.parametrize(
    "text",
    [
        "A day at the sea",
        "Příliš žluťoučký kůň",
        "Größe ß — é",
        "Ελληνικά",
        "Привет",
        "שלום",
        "مرحبا",
        "İstanbul ğ",
    ],
)
def test_kons_own_font_has_what_most_of_the_world_reads(text: str) -> None:
    assert Fonts().runs(text)[1] == ""
    planes, wrong = shown(text)
    left, top, right, bottom = box(planes)
    assert wrong == ""
    assert (top > 720 * 0.85, bottom < 720 * 0.97) == (True, True)
    assert left + right == pytest.approx(1280, abs=30)
    luma = np.asarray(planes.y)
    assert (luma.max() >= 225, luma.min() <= 20) == (True, True)


@pytest.mark.skipif(not features.check("fribidi"), reason="libfribidi is not installed")
def test_text_from_the_right_is_set_from_the_right() -> None:
    """Arabic letters change their shape by their neighbours, so that a word is narrower than its letters."""
    word = "مرحبا"
    font = Face(str(OWN)).at(40)
    assert font.getlength(word) < 0.9 * sum(font.getlength(letter) for letter in word)


def test_a_character_that_no_font_has_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "_of_system", lambda character: None)
    _, wrong = shown(f"at the sea {NOBODY_HAS}{NOBODY_HAS}")
    assert wrong == (
        f"no font here has {NOBODY_HAS} (U+1FAE8) in outlines; install one on each host with workers, or "
        "name it in caption_font; for emoji there is Debian's fonts-symbola"
    )


def test_control_characters_show_nothing() -> None:
    """A terminal's colours, say, that came along with a caption."""
    controls = "".join(map(chr, (*range(0x20), *range(0x7F, 0xA0))))
    odd = "".join(each for each in controls if not each.isspace())
    (with_them, wrong), (without, _) = shown(f"at {odd}the sea"), shown("at the sea")
    assert wrong == ""
    assert with_them == without


def test_what_kons_own_font_lacks_is_taken_from_the_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    other = Face("/some/font.otf")
    monkeypatch.setattr(fonts, "_of_system", lambda character: other)
    monkeypatch.setattr(fonts, "_has", lambda face, character: (face == other) == (character in "東京"))
    runs, missing = Fonts().runs("in 東京, at last")
    assert [(run.text, run.face.file) for run in runs] == [
        ("in ", str(OWN)),
        ("東京", other.file),
        (", at last", str(OWN)),
    ]
    assert missing == ""


@pytest.mark.parametrize(
    "text", ["long " * 12, "ein sehr langer Titel, der auf mehrere Zeilen gehört, " * 3, "x" * 200]
)
def test_long_captions_are_wrapped_and_fit(text: str) -> None:
    planes, wrong = shown(text)
    left, top, right, bottom = box(planes)
    assert wrong == ""
    assert left >= 1280 * 0.03
    assert right <= 1280 * 0.97
    assert (top > 720 * 0.6, bottom < 720 * 0.97) == (True, True)


def test_no_word_is_lost_by_wrapping() -> None:
    text = " ".join(f"word{number}" for number in range(40))
    captions = Captions(FILM)
    assert " ".join(captions._lines(text, 30)) == text
    assert "".join(captions._lines("東" * 90, 30)) == "東" * 90


def test_what_is_too_long_for_any_size_says_so() -> None:
    planes, wrong = shown("a whole letter home " * 60)
    assert "1 line of it cut off" in wrong
    assert box(planes)[1] > 720 * 0.6


@pytest.mark.parametrize(
    ("position", "least", "most"), [("top", 0.03, 0.2), ("middle", 0.4, 0.6), ("bottom", 0.85, 0.97)]
)
def test_where_a_caption_is(position: Any, least: float, most: float) -> None:
    planes, _ = shown("Hello", msgspec.structs.replace(FILM, caption_position=position))
    _, top, _, bottom = box(planes)
    assert 720 * least < top < bottom < 720 * most


def test_its_size_is_a_share_of_the_picture() -> None:
    heights = []
    for size in (0.04, 0.08):
        _, top, _, bottom = box(shown("HXH", msgspec.structs.replace(FILM, caption_size=size))[0])
        heights.append(bottom - top)
    assert heights[1] == pytest.approx(2 * heights[0], rel=0.15)


def test_a_caption_lies_above_what_moves_and_stays_where_it_is() -> None:
    film = msgspec.structs.replace(FILM, zoom=2.0, seconds=0.4)
    overlay, _ = Captions(film).drawn("At the very foot")
    frames = [frame_at(Shot(Picture(GREY, overlay), None, 10, True), number, film) for number in range(10)]
    assert len({box(planes) for planes in frames}) == 1


def test_captions_give_way_to_each_other_with_their_images() -> None:
    film = msgspec.structs.replace(FILM, seconds=0.4, crossfade_s=0.2)
    captions = Captions(film)
    first, second = (Picture(GREY, captions.drawn(text)[0]) for text in ("MMMMM", "IIIII"))
    shot = Shot(first, second, 10, True)
    luma = [np.asarray(frame_at(shot, number, film).y) for number in range(10)]
    after = np.asarray(frame_at(Shot(second, None, 10, False), 0, film).y)
    levels = [int(each[(luma[0] == 235) & (after == 128)].mean()) for each in luma]
    assert levels[:5] == [235] * 5
    assert 235 > levels[5] > levels[7] > levels[9] > 128
    levels = [int(each[(luma[0] == 128) & (after == 235)].mean()) for each in luma]
    assert 128 < levels[5] < levels[7] < levels[9] < 235


def test_a_font_of_ones_own(tmp_path: Path) -> None:
    copy = tmp_path / "mine.ttf"
    copy.write_bytes(OWN.read_bytes())
    assert Fonts(str(copy)).runs("a")[0][0].face.file == str(copy)
    for name, says in (
        (str(tmp_path / "none.ttf"), "can't be used as a font"),
        (str(Path(__file__).with_suffix(".otf")), "can't be used as a font"),
    ):
        with pytest.raises(ConfigurationError, match=f"caption_font: .*{says}"):
            Fonts(name)


def test_a_family_is_asked_of_fontconfig_and_no_other_is_taken_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = f"Some Sans,Some Sans Book|{OWN}|0"
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/fc-match")
    monkeypatch.setattr(
        subprocess, "run", lambda argv, **given: subprocess.CompletedProcess(argv, 0, said, "")
    )
    assert Fonts("some sans").runs("a")[0][0].face.file == str(OWN)
    with pytest.raises(ConfigurationError, match=r'no font "Comic" here \(the nearest is "Some Sans'):
        Fonts("Comic")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ConfigurationError, match="there is no fc-match on PATH"):
        Fonts("some sans")
