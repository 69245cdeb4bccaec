"""Draws the pictures of docs/animoto.md: each option of a look, in videos. `python docs/site/looks.py`

Each strip is a video that the kind `animoto` makes of kon's made-up pictures, and frames out of it.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import av
from PIL import Image, ImageDraw, ImageFont

from kon.backends.folder import FolderObjects
from kon.core.kind import Attempt
from kon.kinds.animoto import Animoto
from kon.kinds.video.fonts import OWN
from kon.kinds.video.moves import TRANSITIONS

FOLDER: Final = Path(__file__).parent.parent / "pictures"
MOST_BYTES: Final = 600_000
"""All pictures together."""
_GAP: Final = 6
_LABEL: Final = 20
_QUALITY: Final = 82


class Strip(NamedTuple):
    """Frames of one video. at: their numbers; 25 are a second. pictures: numbers of made-up pictures."""

    label: str
    options: dict[str, Any]
    at: Sequence[int]
    pictures: Sequence[int] = (5,)
    captions: Sequence[str] = ()


class Sheet(NamedTuple):
    """strips: one below another, in columns from left to right. width: of a frame, in pixels."""

    strips: Sequence[Strip]
    columns: int
    width: int


_CAPTION: Final = ("A caption: Příliš žluťoučký kůň",)
_SHORT: Final = {"seconds": 0.4, "transition_s": 0.32}

SHEETS: Final[dict[str, Sheet]] = {
    "look-fit": Sheet(
        [
            *(Strip(f"fit: {fit}", {"fit": fit}, [5], [7]) for fit in ("letterbox", "crop", "blur")),
            Strip("background: '#5b4a8a'", {"background": "#5b4a8a"}, [5], [7]),
            Strip("fit: crop, focus: [0.5, 0]", {"fit": "crop", "focus": [0.5, 0.0]}, [5], [7]),
            Strip("fit: crop, focus: [0.5, 1]", {"fit": "crop", "focus": [0.5, 1.0]}, [5], [7]),
        ],
        3,
        240,
    ),
    "look-zoom": Sheet(
        [
            Strip("zoom: 1.6", {"zoom": 1.6}, [0, 12, 24]),
            Strip("zoom: 1.6, focus: [0.95, 0.1]", {"zoom": 1.6, "focus": [0.95, 0.1]}, [0, 12, 24]),
        ],
        1,
        240,
    ),
    "look-transitions": Sheet(
        [
            Strip(f"transition: {name}", {"transition": name, **_SHORT}, [1, 3, 5, 7, 9, 10], [5, 8])
            for name in TRANSITIONS
        ],
        1,
        150,
    ),
    "look-fades": Sheet(
        [
            Strip("fade_in_s: 0.4", {"fade_in_s": 0.4}, [0, 2, 4, 6, 8, 10]),
            Strip("fade_out_s: 0.4", {"fade_out_s": 0.4}, [14, 16, 18, 20, 22, 24]),
        ],
        1,
        150,
    ),
    "look-cards": Sheet(
        [
            Strip("title: Our summer", {"title": "Our summer"}, [10]),
            Strip("title_background: image 1", {"title": "Our summer", "title_background": "image 1"}, [10]),
            Strip("end_background: '#6b2737'", {"end": "Thank you", "end_background": "#6b2737"}, [60]),
        ],
        3,
        240,
    ),
    "look-captions": Sheet(
        [
            *(
                Strip(f"caption_position: {place}", {"caption_position": place}, [5], captions=_CAPTION)
                for place in ("bottom", "middle", "top")
            ),
            Strip("caption_size: 0.09", {"caption_size": 0.09}, [5], captions=_CAPTION),
            Strip("zoom: 2, the caption stays", {"zoom": 2.0}, [24], captions=_CAPTION),
        ],
        3,
        240,
    ),
    "look-crf": Sheet(
        [Strip(f"crf: {crf}", {"crf": crf}, [5], [1]) for crf in (18, 25, 45)],
        3,
        240,
    ),
}
GIF: Final = "look-gif"
_GIF_OPTIONS: Final = {
    "format": "gif",
    "size": "240x134",
    "fps": 10,
    "seconds": 0.8,
    "transition": "slide_left",
    "transition_s": 0.3,
    "fit": "crop",
}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, sheet in SHEETS.items():
            _drawn(sheet, Path(folder)).save(FOLDER / f"{name}.jpg", quality=_QUALITY, optimize=True)
        strip = Strip("", _GIF_OPTIONS, [], (5, 8, 1))
        (FOLDER / f"{GIF}.gif").write_bytes(_video(strip, Path(folder)).read_bytes())
    size_bytes = sum(each.stat().st_size for each in FOLDER.glob("look-*"))
    print(f"{size_bytes:,} bytes of {MOST_BYTES:,}")


def _drawn(sheet: Sheet, folder: Path) -> Image.Image:
    blocks = [_strip(strip, sheet.width, folder) for strip in sheet.strips]
    width, height = blocks[0].width + _GAP, blocks[0].height + _GAP
    rows = -(-len(blocks) // sheet.columns)
    whole = Image.new("RGB", (sheet.columns * width - _GAP, rows * height - _GAP), "white")
    for number, block in enumerate(blocks):
        row, column = divmod(number, sheet.columns)
        whole.paste(block, (column * width, row * height))
    return whole


def _strip(strip: Strip, width: int, folder: Path) -> Image.Image:
    frames = _frames(_video(strip, folder), strip.at)
    height = round(width * frames[0].height / frames[0].width)
    block = Image.new("RGB", (len(frames) * (width + _GAP) - _GAP, height + _LABEL), "white")
    font = ImageFont.truetype(str(OWN), 13)
    ImageDraw.Draw(block).text((0, _LABEL - 6), strip.label, fill="black", font=font, anchor="ls")
    for number, frame in enumerate(frames):
        small = frame.resize((width, height), Image.Resampling.LANCZOS)
        block.paste(small, (number * (width + _GAP), _LABEL))
    return block


def _frames(video: Path, at: Sequence[int]) -> list[Image.Image]:
    with av.open(str(video), "r") as container:
        wanted = set(at)
        return [
            frame.to_image()  # type: ignore[no-untyped-call]
            for number, frame in enumerate(container.decode(video=0))
            if number in wanted
        ]


def _video(strip: Strip, folder: Path) -> Path:
    job = {
        "links": [f"picture-{number:03}.jpg" for number in strip.pictures],
        "captions": list(strip.captions),
    }

    async def made() -> str:
        objects = FolderObjects(folder)
        kind = Animoto({"images": "demo", "size": "480x270", "crf": 18, **strip.options})
        try:
            await kind.open(objects)
            result = await kind.execute(job, Attempt("pictures", 0, 1))
        finally:
            await kind.close()
            await objects.close()
        assert not result["skipped"], result
        return str(result["key"])

    return folder / asyncio.run(made())


if __name__ == "__main__":
    main()
