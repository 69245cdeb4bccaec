"""Histogram equalization of channels: of the whole picture, or tile by tile (CLAHE).

With Pillow alone, so that a worker's host needs no numpy: a tile's curve is a table that Pillow applies in C,
and between the middles of four tiles their four results are blended by masks that grow evenly.

A picture is looked at and changed part by part: the parts of a channel are asked for by their boxes, so that
no channel of 48 megapixels has to be there whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Final

from PIL import Image

_LEVELS: Final = 256
_SAME: Final = list(range(_LEVELS))
_ROWS: Final = 256
"""Rows of a picture that are looked at, or changed, at once."""

Table = list[int]
"""For each level the one that takes its place."""
Box = tuple[int, int, int, int]
"""Left, top, right and bottom of a part of a picture, in pixels."""
Part = Callable[[Box], tuple[Image.Image, Image.Image | None]]
"""A part of a channel, and where it is visible: where the other is not 0, pixels count; None for everywhere.
All pixels are changed alike."""
Step = tuple[Box, Callable[[Image.Image], Image.Image]]
"""A part of a channel, and what makes of it the new one. The boxes of all steps cover the channel once."""


def equalized(size: tuple[int, int], part: Part) -> Iterator[Step]:
    """A channel's levels spread evenly over all that there are. All is looked at before the first step."""
    width, height = size
    strips = [(0, top, width, min(top + _ROWS, height)) for top in range(0, height, _ROWS)]
    counts = [0] * _LEVELS
    for strip in strips:
        channel, visible = part(strip)
        counts = [sum(pair) for pair in zip(counts, channel.histogram(visible), strict=True)]
    total, least = sum(counts), next((count for count in counts if count), 0)
    span = total - least
    # with one level or none there is nothing to spread
    table = [max(0, round((below - least) * 255 / span)) for below in accumulate(counts)] if span else _SAME
    return ((strip, lambda channel: channel.point(table)) for strip in strips)


def clahe(size: tuple[int, int], part: Part, tiles: tuple[int, int], clip: float) -> Iterator[Step]:
    """Contrast-limited adaptive histogram equalization (Zuiderveld 1994), to within 2 levels.

    tiles: across and down; fewer where the picture has fewer pixels. clip: the most that a level may count,
    as a multiple of the mean; what is above is shared out among all levels. All is looked at before the first
    step.
    """
    columns, rows = _edges(size[0], tiles[0]), _edges(size[1], tiles[1])
    tables = [
        [_table(*part((left, top, right, bottom)), clip) for left, right in pairwise(columns)]
        for top, bottom in pairwise(rows)
    ]
    return _blended(tables, columns, rows)


def _blended(tables: list[list[Table]], columns: list[int], rows: list[int]) -> Iterator[Step]:
    for above, below, top, bottom, weight_down in _bands(rows):
        for left, right, start, end, weight_across in _bands(columns):

            def change(channel: Image.Image) -> Image.Image:
                def blended(row: int) -> Image.Image:
                    first, second = channel.point(tables[row][left]), channel.point(tables[row][right])  # noqa: B023
                    return _blend(first, second, weight_across, lambda mask: mask)  # noqa: B023

                upper = blended(above)  # noqa: B023
                lower = upper if below == above else blended(below)  # noqa: B023
                return _blend(
                    upper,
                    lower,
                    weight_down,  # noqa: B023
                    lambda mask: mask.transpose(Image.Transpose.TRANSPOSE),
                )

            yield (start, top, end, bottom), change


def _edges(size: int, tiles: int) -> list[int]:
    tiles = min(tiles, size)
    return [round(number * size / tiles) for number in range(tiles + 1)]


def _table(tile: Image.Image, visible: Image.Image | None, clip: float) -> Table:
    counts = tile.histogram(visible)
    total = sum(counts)
    if not total:
        return _SAME
    limit = max(1, int(clip * total / _LEVELS))
    excess = sum(count - limit for count in counts if count > limit)
    share, rest = divmod(excess, _LEVELS)
    step = _LEVELS / rest if rest else 0
    spread = [min(count, limit) + share for count in counts]
    for number in range(rest):
        spread[int(number * step)] += 1
    return [round(below * 255 / total) for below in accumulate(spread)]


Band = tuple[int, int, int, int, bytes | None]
"""Numbers of two tiles, the first pixel and the one after the last between their middles, and the weight of
the second tile at each pixel; None where it is one and the same tile."""


def _bands(edges: Sequence[int]) -> list[Band]:
    middles = [(first + last) / 2 for first, last in pairwise(edges)]
    last_tile = len(middles) - 1
    bounds = [0, *(round(middle) for middle in middles), edges[-1]]
    found: list[Band] = []
    for number, (start, end) in enumerate(pairwise(bounds)):
        if start == end:
            continue
        if number in (0, len(middles)):
            tile = 0 if number == 0 else last_tile
            found.append((tile, tile, start, end, None))
            continue
        begin, width = middles[number - 1], middles[number] - middles[number - 1]
        weights = [(pixel + 0.5 - begin) / width for pixel in range(start, end)]
        found.append((number - 1, number, start, end, bytes(round(255 * min(1, max(0, w))) for w in weights)))
    return found


def _blend(
    first: Image.Image, second: Image.Image, weight: bytes | None, turn: Callable[[Image.Image], Image.Image]
) -> Image.Image:
    """`turn`: makes a mask of a line of weights that runs across."""
    if weight is None:
        return first
    line = turn(Image.frombytes("L", (len(weight), 1), weight))
    return Image.composite(second, first, line.resize(first.size, Image.Resampling.NEAREST))
