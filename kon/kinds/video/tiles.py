"""A HEIC of tiles, decoded one by one by libavcodec, and made smaller row by row."""

from __future__ import annotations

from typing import Final

import av
from av.video.reformatter import ColorRange, Colorspace
from PIL import Image

from kon.kinds.pictures.grid import Grid
from kon.kinds.web.limits import BadImage

_BT601: Final = 5
"""As libheif takes pictures that say nothing of their matrix (H.273, table 4)."""
_MATRICES: Final = {1: Colorspace.ITU709, 5: Colorspace.ITU601, 6: Colorspace.ITU601, 7: Colorspace.SMPTE240M}
_EDGE: Final = 64
"""Pixels by which a tile may be coded larger than it is shown: HEVC's largest coding unit."""


def decoded_tiles(data: bytes, grid: Grid, halvings: int) -> Image.Image:
    """The picture as RGB, upright, with its profile; at a half, a quarter and so on of its size.

    Raises BadImage, and what libavcodec raises, for what can't be decoded to its end.
    """
    factor = 1 << halvings
    while any(side % factor for side in grid.tile_size):
        factor //= 2
    decoder = _Tiles(data, grid)
    width, height = grid.size
    made = Image.new("RGB", (-(-width // factor), -(-height // factor)))
    tile_width, tile_height = grid.tile_size
    for number in range(len(grid.tiles) // grid.across):
        top = number * tile_height
        strip = Image.new("RGB", (width, min(tile_height, height - top)))
        for place in range(grid.across):
            strip.paste(decoder.tile(number * grid.across + place), (place * tile_width, 0))
        made.paste(strip.reduce(factor) if factor > 1 else strip, (0, top // factor))
    for turn in grid.turns:
        made = made.transpose(turn)
    made.info["icc_profile"] = grid.profile
    return made


class _Tiles:
    def __init__(self, data: bytes, grid: Grid) -> None:
        self._data, self._grid = data, grid
        codec = av.CodecContext.create("hevc", "r")
        assert isinstance(codec, av.VideoCodecContext)
        codec.extradata = grid.parameters
        codec.thread_count = 1
        across, down = grid.tile_size
        # a tile that is larger than the header says would take memory that nobody has reckoned with
        most_pixels = (across + _EDGE) * (down + _EDGE)
        codec.options = {"err_detect": "explode", "max_pixels": str(most_pixels)}
        self._codec = codec

    def tile(self, number: int) -> Image.Image:
        begin, length = self._grid.tiles[number]
        coded = self._data[begin : begin + length]
        if not length or len(coded) < length:
            raise BadImage("its HEIC data are corrupt or cut short: a tile is missing")
        # each tile is a key picture of its own; drained and flushed, the decoder waits for none after it
        frames = [*self._codec.decode(av.Packet(coded)), *self._codec.decode(None)]
        self._codec.flush_buffers()
        across, down = self._grid.tile_size
        if len(frames) != 1 or frames[0].width < across or frames[0].height < down:
            raise BadImage("its HEIC data are corrupt: a tile is no picture of the size that the header says")
        return self._in_rgb(frames[0]).crop((0, 0, across, down))

    def _in_rgb(self, frame: av.VideoFrame) -> Image.Image:
        grid = self._grid
        matrix = frame.colorspace if grid.matrix is None else grid.matrix
        full_range = frame.color_range == ColorRange.JPEG if grid.full_range is None else grid.full_range
        rgb = frame.reformat(
            format="rgb24",
            src_colorspace=_MATRICES.get(int(matrix), _MATRICES[_BT601]),
            src_color_range=ColorRange.JPEG if full_range else ColorRange.MPEG,
            dst_color_range=ColorRange.JPEG,
        )
        image: Image.Image = rgb.to_image()  # type: ignore[no-untyped-call]
        return image
