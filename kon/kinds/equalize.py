"""Histogram equalization of one channel: of the whole picture, or tile by tile (CLAHE).

With Pillow alone, so that a worker's host needs no numpy: a tile's curve is a table that Pillow applies in C,
and between the middles of four tiles their four results are blended by masks that grow evenly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import Final

from PIL import Image

_LEVELS: Final = 256
_SAME: Final = list(range(_LEVELS))

Table = list[int]
"""For each level the one that takes its place."""


def equalized(channel: Image.Image, visible: Image.Image | None = None) -> Image.Image:
    """Its levels spread evenly over all that there are.

    visible: where it is not 0, pixels count; None for everywhere. All pixels are changed alike.
    """
    counts = channel.histogram(visible)
    total, least = sum(counts), next((count for count in counts if count), 0)
    if total == least:  # one level or none: there is nothing to spread
        return channel.copy()
    span = total - least
    return channel.point([max(0, round((below - least) * 255 / span)) for below in accumulate(counts)])


def clahe(
    channel: Image.Image, tiles: tuple[int, int], clip: float, visible: Image.Image | None = None
) -> Image.Image:
    """Contrast-limited adaptive histogram equalization (Zuiderveld 1994), to within 2 levels.

    tiles: across and down; fewer where the picture has fewer pixels. clip: the most that a level may count,
    as a multiple of the mean; what is above is shared out among all levels.
    """
    columns = _edges(channel.width, tiles[0])
    rows = _edges(channel.height, tiles[1])
    tables = [
        [_table(channel, visible, (left, top, right, bottom), clip) for left, right in pairwise(columns)]
        for top, bottom in pairwise(rows)
    ]
    out = Image.new("L", channel.size)
    across, down = _bands(columns), _bands(rows)
    for above, below, top, bottom, weight_down in down:
        for left, right, start, end, weight_across in across:
            box = (start, top, end, bottom)
            part = channel.crop(box)

            def blended(row: int) -> Image.Image:
                first, second = part.point(tables[row][left]), part.point(tables[row][right])  # noqa: B023
                return _blend(first, second, weight_across, lambda mask: mask)  # noqa: B023

            upper = blended(above)
            lower = upper if below == above else blended(below)
            turned = _blend(upper, lower, weight_down, lambda mask: mask.transpose(Image.Transpose.TRANSPOSE))
            out.paste(turned, box)
    return out


def _edges(size: int, tiles: int) -> list[int]:
    tiles = min(tiles, size)
    return [round(number * size / tiles) for number in range(tiles + 1)]


def _table(
    channel: Image.Image, visible: Image.Image | None, box: tuple[int, int, int, int], clip: float
) -> Table:
    counts = channel.crop(box).histogram(None if visible is None else visible.crop(box))
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
