"""A HEIC as phones write it: a grid of tiles, each coded by itself (ISO/IEC 23008-12, 6.6.2.3.2).

Whoever knows where the tiles lie decodes them one by one, and never holds the whole picture. That takes
80 MB in place of 350 for 48 megapixels.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec
from PIL import Image

MOST_TILE_PIXELS: Final = 1 << 20
"""Phones take tiles of 512 x 512. What has larger ones is not worth a way of its own."""

_MOST_BYTES: Final = 1 << 20
"""The most that a file may say of its items, as Python reads it. Two hundred tiles take 10 kB."""


class Grid(msgspec.Struct, frozen=True):
    """tiles: begin and length of each in the file, row by row. parameters: the decoder's, as in `hvcC`.

    size: of the whole picture, as it lies; turns: what makes it upright, in this order. profile: of ICC.
    matrix, full_range: of its YCbCr, as H.273 numbers them; None where only the coded tiles say it.
    """

    tiles: list[tuple[int, int]]
    across: int
    tile_size: tuple[int, int]
    size: tuple[int, int]
    parameters: bytes
    turns: list[Image.Transpose]
    profile: bytes = b""
    matrix: int | None = None
    full_range: bool | None = None


def boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and content of each box (ISO/IEC 14496-12, 4.2)."""
    place = 0
    while place + 8 <= len(data):
        size, name = struct.unpack_from(">I4s", data, place)
        head_bytes = 8
        if size == 1:
            (size,), head_bytes = struct.unpack_from(">Q", data, place + 8), 16
        end = len(data) if size == 0 else place + size
        if end < place + head_bytes:
            return
        yield name, data[place + head_bytes : end]
        place = end


_ALPHA: Final = (b"urn:mpeg:hevc:2015:auxid:1", b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha")

_KNOWN: Final = (b"ispe", b"irot", b"imir", b"colr", b"pixi", b"pasp", b"clli", b"mdcv")
"""Properties of the whole picture that leave its pixels as they are, or are followed here. `clap` crops."""


def read_grid(data: bytes) -> Grid | None:
    """The grid of a file's primary picture; None where it is none, or not of the form that phones write.

    Raises struct.error, IndexError or KeyError where the file is corrupt.
    """
    about = dict(boxes(data))[b"meta"][4:]
    meta = dict(boxes(about)) if len(about) <= _MOST_BYTES else {}
    if any(name not in meta for name in (b"pitm", b"iinf", b"iloc", b"iref", b"iprp")):
        return None
    primary = _number(meta[b"pitm"], 4, meta[b"pitm"][0])
    kinds, places = _kinds(meta[b"iinf"]), _places(meta[b"iloc"])
    items = _parts(meta[b"iref"], primary)
    if kinds[primary] != b"grid" or not items or any(kinds[item] != b"hvc1" for item in items):
        return None
    every, owned = _properties(meta[b"iprp"])
    if any(name == b"auxC" and box[4:].startswith(_ALPHA) for name, box in every):
        return None
    mine = [every[number] for number in owned[primary]]
    if (
        any(name not in _KNOWN for name, _ in mine)
        or len({tuple(sorted(owned[item])) for item in items}) != 1
    ):
        return None
    of_tiles = dict(every[number] for number in owned[items[0]])
    payload = _content(data, meta.get(b"idat", b""), places[primary])
    down, across = payload[2] + 1, payload[3] + 1
    width, height = struct.unpack_from(">II" if payload[1] & 1 else ">HH", payload, 4)
    tile_width, tile_height = struct.unpack_from(">II", of_tiles[b"ispe"], 4)
    if (
        len(items) != down * across
        or not 0 < tile_width * tile_height <= MOST_TILE_PIXELS
        or not 0 < width <= across * tile_width
        or not 0 < height <= down * tile_height
        or any(places[item].inside for item in items)
    ):
        return None
    profile, matrix, full_range = _colours(
        [box for name, box in (*of_tiles.items(), *mine) if name == b"colr"]
    )
    return Grid(
        tiles=[(places[item].begin, places[item].length) for item in items],
        across=across,
        tile_size=(tile_width, tile_height),
        size=(width, height),
        parameters=of_tiles[b"hvcC"],
        turns=list(_turns(mine)),
        profile=profile,
        matrix=matrix,
        full_range=full_range,
    )


def _number(data: bytes, place: int, wide: int) -> int:
    (number,) = struct.unpack_from(">I" if wide else ">H", data, place)
    return int(number)


def _kinds(iinf: bytes) -> dict[int, bytes]:
    """The type of each item (ISO/IEC 14496-12, 8.11.6)."""
    kinds = {}
    for _, box in boxes(iinf[8 if iinf[0] else 6 :]):
        wide = box[0] >= 3
        kinds[_number(box, 4, wide)] = box[10 if wide else 8 :][:4]
    return kinds


class _Place(NamedTuple):
    """inside: it begins in the box `idat`, not in the file."""

    inside: bool
    begin: int
    length: int


def _places(iloc: bytes) -> dict[int, _Place]:
    """Where items lie that lie in one piece (ISO/IEC 14496-12, 8.11.3)."""
    version, found = iloc[0], {}
    widths = (iloc[4] >> 4, iloc[4] & 15, iloc[5] >> 4, iloc[5] & 15 if version else 0)
    place = 6

    def take(size_bytes: int) -> int:
        nonlocal place
        place += size_bytes
        if place > len(iloc):
            raise IndexError("iloc is cut short")
        return int.from_bytes(iloc[place - size_bytes : place], "big")

    wide = 4 if version == 2 else 2
    for _ in range(take(wide)):
        item = take(wide)
        method = take(2) & 15 if version else 0
        take(2)  # of which file: this one
        base = take(widths[2])
        pieces = take(2)
        if pieces != 1:
            take(pieces * (widths[0] + widths[1] + widths[3]))
            continue
        take(widths[3])
        begin, length = take(widths[0]), take(widths[1])
        if method in (0, 1):
            found[item] = _Place(method == 1, base + begin, length)
    return found


def _content(data: bytes, idat: bytes, place: _Place) -> bytes:
    return (idat if place.inside else data)[place.begin : place.begin + place.length]


def _parts(iref: bytes, whole: int) -> list[int]:
    """Items that a picture is made of, in order (ISO/IEC 14496-12, 8.11.12)."""
    wide = 4 if iref[0] else 2
    for name, box in boxes(iref[4:]):
        if name == b"dimg" and _number(box, 0, iref[0]) == whole:
            count = _number(box, wide, 0)
            return [_number(box, wide + 2 + wide * each, iref[0]) for each in range(count)]
    return []


def _properties(iprp: bytes) -> tuple[list[tuple[bytes, bytes]], dict[int, list[int]]]:
    """All properties, numbered from 1; and the numbers of those of each item (ISO/IEC 23008-12, 9.3)."""
    inside = dict(boxes(iprp))
    every, ipma = [(b"", b""), *boxes(inside[b"ipco"])], inside[b"ipma"]
    owned, place = {}, 8
    for _ in range(_number(ipma, 4, 1)):
        item = _number(ipma, place, ipma[0])
        place += 4 if ipma[0] else 2
        count, wide = ipma[place], 2 if ipma[3] & 1 else 1
        numbers = [ipma[place + 1 + wide * each :][:wide] for each in range(count)]
        owned[item] = [int.from_bytes(each, "big") & (0x7FFF if wide == 2 else 0x7F) for each in numbers]
        place += 1 + wide * count
    return every, owned


def _colours(colr: list[bytes]) -> tuple[bytes, int | None, bool | None]:
    """Profile, matrix and range; what the whole picture says comes last, and counts."""
    profile, matrix, full_range = b"", None, None
    for box in colr:
        if box[:4] in (b"prof", b"rICC"):
            profile = box[4:]
        elif box[:4] == b"nclx":
            matrix, full_range = _number(box, 8, 0), bool(box[10] & 0x80)
    return profile, matrix, full_range


def _turns(properties: list[tuple[bytes, bytes]]) -> Iterator[Image.Transpose]:
    """In the order in which the file has them (ISO/IEC 23008-12, 6.5.10 and 6.5.12)."""
    quarters = (None, Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270)
    for name, box in properties:
        if name == b"irot" and (turn := quarters[box[0] & 3]) is not None:
            yield turn
        elif name == b"imir":
            yield Image.Transpose.FLIP_LEFT_RIGHT if box[0] & 1 else Image.Transpose.FLIP_TOP_BOTTOM
