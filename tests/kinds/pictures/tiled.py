"""HEICs as phones write them: a grid of tiles, each coded by itself (ISO/IEC 23008-12, 6.6.2.3)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import cache

from PIL import Image

from tests.kinds.video.given import encoded


def tiled(
    image: Image.Image, tile: int = 128, properties: tuple[bytes, ...] = (), **options: object
) -> bytes:
    """properties: boxes that the whole picture has besides its size. options: of the encoder of tiles."""
    across, down = -(-image.width // tile), -(-image.height // tile)
    places = [(tile * (number % across), tile * (number // across)) for number in range(across * down)]
    tiles = [image.crop((left, top, left + tile, top + tile)) for left, top in places]
    coded = [_coded(each.tobytes(), each.mode, each.size, **options) for each in tiles]
    return grid_of(coded, across, tile, image.size, properties)


@cache
def _coded(pixels: bytes, mode: str, size: tuple[int, int], **options: object) -> bytes:
    """A tile. The encoder takes longer than all the rest of a test, and most tests have the same tiles."""
    return encoded(Image.frombytes(mode, size, pixels), "HEIF", **options)


def grid_of(
    tiles: list[bytes], across: int, tile: int, size: tuple[int, int], properties: tuple[bytes, ...] = ()
) -> bytes:
    """tiles: each as a HEIC of its own."""
    parameters, coded = {_parts(each)[0] for each in tiles}, [_parts(each)[1] for each in tiles]
    assert len(parameters) == 1
    count = len(tiles)
    payload = struct.pack(">BBBBII", 0, 1, count // across - 1, across - 1, *size)
    kinds = [(number, b"hvc1", 1) for number in range(1, count + 1)] + [(count + 1, b"grid", 0)]
    entries = [
        box(b"infe", struct.pack(">HH4sx", number, 0, kind), flags=2 << 24 | hidden)
        for number, kind, hidden in kinds
    ]
    owned = [struct.pack(">HBBB", number, 2, 0x81, 2) for number in range(1, count + 1)]
    owned.append(
        struct.pack(">HB", count + 1, 1 + len(properties)) + bytes([3, *range(4, 4 + len(properties))])
    )
    every = [
        box(b"hvcC", parameters.pop()),
        box(b"ispe", struct.pack(">II", tile, tile), flags=0),
        box(b"ispe", struct.pack(">II", *size), flags=0),
        *properties,
    ]
    references = struct.pack(f">HH{count}H", count + 1, count, *range(1, count + 1))
    ftyp = box(b"ftyp", b"heic", bytes(4), b"mif1heic")

    def meta(begin: int) -> bytes:
        places = []
        for number, each in enumerate(coded, start=1):
            places.append(struct.pack(">HHHHII", number, 0, 0, 1, begin, len(each)))
            begin += len(each)
        places.append(struct.pack(">HHHHII", count + 1, 1, 0, 1, 0, len(payload)))
        return box(
            b"meta",
            box(b"hdlr", struct.pack(">I4s12xx", 0, b"pict"), flags=0),
            box(b"pitm", struct.pack(">H", count + 1), flags=0),
            box(b"iloc", struct.pack(">BBH", 0x44, 0, count + 1), *places, flags=1 << 24),
            box(b"iinf", struct.pack(">H", count + 1), *entries, flags=0),
            box(b"iref", box(b"dimg", references), flags=0),
            box(b"iprp", box(b"ipco", *every), box(b"ipma", struct.pack(">I", count + 1), *owned, flags=0)),
            box(b"idat", payload),
            flags=0,
        )

    return ftyp + meta(len(ftyp) + len(meta(0)) + 8) + box(b"mdat", *coded)


def box(name: bytes, *content: bytes, flags: int | None = None) -> bytes:
    """flags: with the version in the highest byte; None where a box has none."""
    body = (b"" if flags is None else struct.pack(">I", flags)) + b"".join(content)
    return struct.pack(">I4s", 8 + len(body), name) + body


def _parts(heic: bytes) -> tuple[bytes, bytes]:
    """Parameters of the decoder, and the coded picture."""
    top = dict(_boxes(heic))
    properties = dict(_boxes(dict(_boxes(dict(_boxes(top[b"meta"][4:]))[b"iprp"]))[b"ipco"]))
    return properties[b"hvcC"], top[b"mdat"]


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    while data:
        size, name = struct.unpack_from(">I4s", data)
        yield name, data[8:size]
        data = data[size:]
