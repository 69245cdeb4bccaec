"""What the first bytes of an image say: its type, its size, and what it takes to decode it.

Read by hand, so that no decoder ever sees an image that is too large: Pillow looks at the size only once it
has set its decoder up, and with warnings and limits that are global to the process.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Final, Literal, get_args

import msgspec
from PIL import Image

from kon.kinds.pictures.grid import Grid, boxes, read_grid
from kon.kinds.web.limits import BadImage

SNIFF_BYTES: Final = 16
"""First bytes that tell the type."""

Type = Literal["JPEG", "PNG", "WebP", "GIF", "BMP", "TIFF", "HEIC", "AVIF"]

_MAGIC: Final[dict[bytes, Type]] = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
}
_BRANDS: Final[dict[bytes, Type]] = {
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"), "HEIC"),
}
"""By the brand of a file in ISO's base media format (ISO/IEC 23008-12, annexes B and D; AVIF 1.1, section
6)."""
_OTHERS: Final = {b"%PDF": "a PDF", b"\0\0\1\0": "an icon", b"<svg": "an SVG"}


class Header(msgspec.Struct, frozen=True):
    """An image as its header describes it.

    components: colours of a JPEG: 1, 3 or 4. simple: no alpha, no animation, nothing that needs more than
    a plain decoder. orientation: EXIF's, from 1 (upright) to 8. profile: the ICC profile, if any.
    whole_bytes: about how much memory decoding takes, whatever the scale; scaled_bytes: how much more at full
    scale, a quarter of it at half scale. Only JPEGs, and HEICs of tiles, are decoded at a smaller scale.
    grid: where the tiles of such a HEIC lie.
    """

    type: Type
    width: int
    height: int
    whole_bytes: int
    scaled_bytes: int = 0
    components: int = 3
    simple: bool = True
    orientation: int = 1
    profile: bytes = b""
    grid: Grid | None = None

    def decoded_bytes(self, scale: int = 1) -> int:
        """About how much memory decoding takes at one `scale`-th of the size, in bytes."""
        return self.whole_bytes + self.scaled_bytes // scale**2


def type_of(start: bytes) -> Type:
    """The type of an image by its first `SNIFF_BYTES`. Raises BadImage for any other."""
    for magic, kind in _MAGIC.items():
        if start.startswith(magic):
            return kind
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "WebP"
    if start[4:8] == b"ftyp" and start[8:12] in _BRANDS:
        return _BRANDS[start[8:12]]
    raise BadImage(f"{_what(start)}; taken are {', '.join(get_args(Type))}")


def _what(start: bytes) -> str:
    if not start:
        return "it is empty"
    for magic, name in _OTHERS.items():
        if start.startswith(magic):
            return f"it is {name}"
    if start[4:8] == b"ftyp":
        return f'it is a film or a file of sound, of the brand "{start[8:12].decode("ascii", "replace")}"'
    if start.lstrip().startswith((b"<", b"\xef\xbb\xbf<")):
        return "it is a page of HTML or XML"
    return f"it is no image that is known: it starts with the bytes {start[:8].hex(' ')}"


def read_header(data: bytes) -> Header:
    """Raises BadImage for what is no image, or has no size."""
    kind = type_of(data[:SNIFF_BYTES])
    try:
        header = _READERS[kind](data)
    except (struct.error, IndexError) as error:
        raise BadImage(f"its {kind} header is cut short or corrupt") from error
    if not (header.width and header.height):
        raise BadImage(f"its header says {header.width} x {header.height} pixels")
    return header


_NO_LENGTH: Final = frozenset({0x01, *range(0xD0, 0xD9)})
_NO_FRAME: Final = frozenset({0xC4, 0xC8, 0xCC})
_START_OF_SCAN: Final = 0xDA


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and content of each segment before the picture itself."""
    place = 2
    while True:
        if data[place] != 0xFF:
            raise IndexError("no marker where one should be")
        marker = data[place + 1]
        place += 1
        if marker == 0xFF:  # fill
            continue
        place += 1
        if marker in _NO_LENGTH:
            continue
        if marker == _START_OF_SCAN:
            return
        (length,) = struct.unpack_from(">H", data, place)
        yield marker, data[place + 2 : place + length]
        place += length


def _jpeg(data: bytes) -> Header:
    frame: bytes | None = None
    simple, orientation, adobe_rgb = False, 1, False
    profile: list[bytes] = []
    progressive = False
    for marker, content in _segments(data):
        if 0xC0 <= marker <= 0xCF and marker not in _NO_FRAME:
            frame = content
            simple = marker in (0xC0, 0xC1, 0xC2)  # Huffman-coded: baseline, extended, progressive
            progressive = marker == 0xC2
        elif marker == 0xE1 and content.startswith(b"Exif\0\0"):
            orientation = _orientation(content)
        elif marker == 0xE2 and content.startswith(b"ICC_PROFILE\0"):
            profile.append(content[14:])
        elif marker == 0xEE and content.startswith(b"Adobe"):
            adobe_rgb = content[11] == 0
    if frame is None:
        raise BadImage("its JPEG header has no frame")
    bits, height, width, components = struct.unpack_from(">BHHB", frame)
    if bits != 8 or components not in (1, 3, 4):
        raise BadImage(
            f"it is a JPEG of {components} components with {bits} bits each, which is not supported"
        )
    shares = [divmod(frame[7 + 3 * each], 16) for each in range(components)]
    across, down = max(share[0] for share in shares), max(share[1] for share in shares)
    if not all(across_ * down_ for across_, down_ in shares):
        raise BadImage("its JPEG header is corrupt: a component has no samples")
    # a progressive one is kept as coefficients of two bytes each until its last scan, whatever the scale
    samples = width * height * sum(h * v for h, v in shares) // (across * down)
    return Header(
        "JPEG",
        width,
        height,
        whole_bytes=samples * 2 if progressive else 0,
        scaled_bytes=samples + (8 * width * height if components == 4 else 0),
        components=components,
        simple=simple and not adobe_rgb and components != 4,
        orientation=orientation,
        profile=b"".join(profile),
    )


def _orientation(segment: bytes) -> int:
    """EXIF's orientation; 1 where the EXIF data make no sense, as in all viewers."""
    exif = Image.Exif()
    try:
        exif.load(segment)
        found = exif.get(0x0112, 1)
    except Exception:  # any error that a broken structure can lead a parser into
        return 1
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


_PNG_BYTES: Final = {0: 2, 2: 6, 3: 6, 4: 10, 6: 6}
"""Bytes a pixel by colour type (grey, RGB, palette, grey and alpha, RGBA), as Pillow keeps and converts them,
and half as much again for what is made of it: RGB is kept as four bytes, a palette becomes RGBA."""
_PNG_GREY_16: Final = 11
_PNG_KEYED: Final = 4
"""More where one colour is transparent: the picture is made RGBA."""


def _png(data: bytes) -> Header:
    if data[12:16] != b"IHDR":
        raise BadImage("its PNG header is corrupt")
    width, height, bits, colour = struct.unpack_from(">IIBB", data, 16)
    if colour not in _PNG_BYTES:
        raise BadImage("its PNG header is corrupt: there is no such colour type")
    each = _PNG_GREY_16 if (bits, colour) == (16, 0) else _PNG_BYTES[colour]
    if b"tRNS" in data[: data.find(b"IDAT")] and colour != 3:
        each += _PNG_KEYED
    return Header("PNG", width, height, width * height * each, simple=False)


def _gif(data: bytes) -> Header:
    width, height = struct.unpack_from("<HH", data, 6)
    return Header("GIF", width, height, width * height * 6, simple=False)


def _bmp(data: bytes) -> Header:
    (size,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH" if size == 12 else "<ii", data, 18)
    # a negative height: the rows stand from the top down
    return Header("BMP", abs(width), abs(height), abs(width * height) * 5, simple=False)


_TIFF_SIZES: Final = {1: "B", 3: "H", 4: "I"}
"""TIFF 6.0, section 2: types of fields that hold whole numbers, as `struct` has them."""


def _tiff(data: bytes) -> Header:
    order = "<" if data[:2] == b"II" else ">"
    (place,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, place)
    found = {}
    for entry in range(place + 2, place + 2 + 12 * count, 12):
        tag, form, _ = struct.unpack_from(f"{order}HHI", data, entry)
        if form in _TIFF_SIZES:
            (found[tag],) = struct.unpack_from(f"{order}{_TIFF_SIZES[form]}", data, entry + 8)
    width, height = found.get(256, 0), found.get(257, 0)
    return Header("TIFF", width, height, width * height * 12, simple=False)


def _heic(data: bytes) -> Header:
    try:
        grid = read_grid(data)
    except (struct.error, IndexError, KeyError):
        grid = None  # libheif says what is wrong with it
    if grid is None:
        width, height = _largest("HEIC", data)
        return Header("HEIC", width, height, width * height * 8, simple=False)
    (width, height), (_, strip) = grid.size, grid.tile_size
    # a row of tiles, and the picture, each once more: as it is made smaller, and as it is brought upright
    return Header(
        "HEIC", width, height, 8 * width * strip, scaled_bytes=8 * width * height, simple=False, grid=grid
    )


def _avif(data: bytes) -> Header:
    width, height = _largest("AVIF", data)
    return Header("AVIF", width, height, width * height * 10, simple=False)


def _largest(kind: Type, data: bytes) -> tuple[int, int]:
    """The largest size that a property of the file says (`ispe`, ISO/IEC 23008-12, 6.5.3)."""
    inside = data
    for name, head_bytes in ((b"meta", 4), (b"iprp", 0), (b"ipco", 0)):
        inside = next((box[head_bytes:] for found, box in boxes(inside) if found == name), b"")
    sizes = [struct.unpack_from(">II", box, 4) for found, box in boxes(inside) if found == b"ispe"]
    if not sizes:
        raise BadImage(f"its {kind} header says no size")
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    return width, height


def _webp(data: bytes) -> Header:
    form = data[12:16]
    if form == b"VP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
        return Header("WebP", width, height, width * height * 2)
    if form == b"VP8L":
        (packed,) = struct.unpack_from("<I", data, 21)
        width, height = (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    elif form == b"VP8X":
        width = int.from_bytes(data[24:27], "little") + 1
        height = int.from_bytes(data[27:30], "little") + 1
    else:
        raise BadImage("its WebP header is corrupt")
    # Pillow keeps two canvases, the picture of the one and a copy
    return Header("WebP", width, height, width * height * 16, simple=False)


_READERS: Final[dict[Type, Callable[[bytes], Header]]] = {
    "JPEG": _jpeg,
    "PNG": _png,
    "WebP": _webp,
    "GIF": _gif,
    "BMP": _bmp,
    "TIFF": _tiff,
    "HEIC": _heic,
    "AVIF": _avif,
}
