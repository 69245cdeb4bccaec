"""Equalization: that of the papers, on pictures of each mode."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from kon.kinds.equalize import Step, clahe, equalized
from tests.kinds.pictures.making import dark, made, pixels
from tests.kinds.video.given import encoded


def changed(channel: Image.Image, equalize: Callable[..., Iterator[Step]], *options: Any) -> Image.Image:
    """A channel, changed part by part."""
    made = channel.copy()
    for box, change in equalize(channel.size, lambda box: (channel.crop(box), None), *options):
        made.paste(change(channel.crop(box)), box)
    return made


def test_global_equalization_spreads_the_levels_evenly() -> None:
    grey = dark().convert("L")
    levels, counts = np.unique(pixels(grey), return_counts=True)
    below = np.cumsum(counts)
    wanted = np.round((below - counts[0]) * 255 / (grey.width * grey.height - counts[0]))
    table = dict(zip(levels, wanted, strict=True))
    assert np.array_equal(pixels(changed(grey, equalized)), np.vectorize(table.get)(pixels(grey)))
    assert changed(grey, equalized).getextrema() == (0, 255)


def reference_clahe(
    grey: npt.NDArray[np.int_], tiles: tuple[int, int], clip: float
) -> npt.NDArray[np.float64]:
    """As in Zuiderveld's paper, with doubles throughout."""
    height, width = grey.shape
    rows = [round(n * height / tiles[1]) for n in range(tiles[1] + 1)]
    columns = [round(n * width / tiles[0]) for n in range(tiles[0] + 1)]
    tables = np.zeros((tiles[1], tiles[0], 256))
    for j in range(tiles[1]):
        for i in range(tiles[0]):
            tile = grey[rows[j] : rows[j + 1], columns[i] : columns[i + 1]]
            counts = np.bincount(tile.ravel(), minlength=256).astype(float)
            limit = max(1, int(clip * tile.size / 256))
            excess = np.maximum(counts - limit, 0).sum()
            counts = np.minimum(counts, limit) + excess / 256
            tables[j, i] = np.cumsum(counts) * 255 / tile.size
    out = np.zeros(grey.shape)
    middles_y = [(a + b) / 2 for a, b in pairwise(rows)]
    middles_x = [(a + b) / 2 for a, b in pairwise(columns)]
    for y in range(height):
        below = int(np.searchsorted(middles_y, y + 0.5))
        j0, j1 = max(below - 1, 0), min(below, tiles[1] - 1)
        wy = 0.0 if j0 == j1 else (y + 0.5 - middles_y[j0]) / (middles_y[j1] - middles_y[j0])
        for x in range(width):
            right = int(np.searchsorted(middles_x, x + 0.5))
            i0, i1 = max(right - 1, 0), min(right, tiles[0] - 1)
            wx = 0.0 if i0 == i1 else (x + 0.5 - middles_x[i0]) / (middles_x[i1] - middles_x[i0])
            four = tables[[j0, j0, j1, j1], [i0, i1, i0, i1], grey[y, x]]
            out[y, x] = four @ [(1 - wy) * (1 - wx), (1 - wy) * wx, wy * (1 - wx), wy * wx]
    return out


@pytest.mark.parametrize(("size", "tiles", "clip"), [((97, 61), (4, 3), 2.0), ((40, 50), (1, 5), 8.0)])
def test_clahe_is_that_of_the_paper(size: tuple[int, int], tiles: tuple[int, int], clip: float) -> None:
    grey = dark().convert("L").resize(size)
    off = np.abs(pixels(changed(grey, clahe, tiles, clip)) - reference_clahe(pixels(grey), tiles, clip))
    assert off.max() <= 2.5
    assert off.mean() < 1


def test_clahe_limits_contrast_and_takes_any_size() -> None:
    grey = dark().convert("L")
    spread = [float(np.std(pixels(changed(grey, clahe, (4, 4), clip)))) for clip in (1.0, 3.0, 40.0)]
    assert spread == sorted(spread)
    flat = Image.new("L", (64, 64), 100)
    assert np.ptp(pixels(changed(flat, clahe, (8, 8), 2.0))) == 0
    for size in ((1, 1), (3, 500), (7, 5)):
        assert changed(grey.resize(size), clahe, (8, 8), 2.0).size == size


@pytest.mark.parametrize("how", ["global", "clahe"])
def test_colours_keep_their_hue_and_grey_stays_grey(tmp_path: Path, how: str) -> None:
    result, picture = made(encoded(dark(), "PNG"), tmp_path, equalize=how)
    assert (result["key"], result["format"], picture.mode) == ("image/a-run/000007.png", "png", "RGB")
    before, after = (np.asarray(each.convert("YCbCr")).astype(int) for each in (dark(), picture))
    assert np.std(after[..., 0]) > 1.5 * np.std(before[..., 0])
    shift = np.abs(after[..., 1:] - before[..., 1:]).mean()
    assert shift < 1
    _, each = made(encoded(dark(), "PNG"), tmp_path, equalize=how, channels="each")
    assert np.abs(np.asarray(each.convert("YCbCr")).astype(int)[..., 1:] - before[..., 1:]).mean() > 2 * shift
    _, grey = made(encoded(dark().convert("L"), "PNG"), tmp_path, equalize=how)
    assert grey.mode == "L"
    assert np.std(pixels(grey)) > 1.5 * np.std(pixels(dark().convert("L")))


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_alpha_is_kept_and_what_can_not_be_seen_does_not_count(tmp_path: Path, form: str) -> None:
    picture = dark().convert("RGBA")
    alpha = Image.new("L", picture.size, 255)
    alpha.paste(0, (0, 0, 160, 240))
    picture.paste((255, 255, 255, 255), (0, 0, 160, 240))  # white where nobody looks
    picture.putalpha(alpha)
    options: dict[str, Any] = {"lossless": True, "exact": True} if form == "WEBP" else {}
    _, result = made(encoded(picture, form, **options), tmp_path, equalize="global", format="png")
    assert result.mode == "RGBA"
    assert result.getchannel("A").tobytes() == alpha.tobytes()
    alone = dark().crop((160, 0, 320, 240))
    _, wanted = made(encoded(alone, "PNG"), tmp_path, equalize="global")
    assert np.array_equal(pixels(result.crop((160, 0, 320, 240)).convert("RGB")), pixels(wanted))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16"])
@pytest.mark.parametrize("how", ["global", "clahe"])
def test_every_mode_of_a_png(tmp_path: Path, mode: str, how: str) -> None:
    picture = dark().convert("L").convert("I").point(lambda level: level * 257).convert("I;16")
    picture = picture if mode == "I;16" else dark().convert(mode)
    _, result = made(encoded(picture, "PNG"), tmp_path, equalize=how, resize="100x80")
    wanted = {"1": "L", "P": "RGB", "I;16": "L"}.get(mode, mode)
    assert (result.mode, result.size) == (wanted, (100, 80))
