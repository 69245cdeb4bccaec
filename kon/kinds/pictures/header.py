"""What the first bytes of an image say: its type, its size, and what it takes to decode it.

Read by hand, so that no decoder ever sees an image that is too large: Pillow looks at the size only once it
has set its decoder up, and with warnings and limits that are global to the process.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, Literal

import msgspec
from PIL import Image

from kon.kinds.pictures.refusal import BadImage

SNIFF_BYTES: Final = 16
"""So many first bytes tell the type."""

Type = Literal["JPEG", "PNG", "WebP"]

_OTHERS: Final = {
    b"GIF8": "a GIF",
    b"BM": "a BMP",
    b"II*\0": "a TIFF",
    b"MM\0*": "a TIFF",
    b"%PDF": "a PDF",
    b"\0\0\1\0": "an icon",
    b"<svg": "an SVG",
}
_BOXES: Final = {b"avif": "an AVIF", b"heic": "a HEIC", b"heix": "a HEIC", b"mif1": "a HEIC"}


class Header(msgspec.Struct, frozen=True):
    """An image as its header describes it.

    components: colours of a JPEG: 1, 3 or 4. simple: no alpha, no animation, nothing that needs more than
    a plain decoder. orientation: EXIF's, from 1 (upright) to 8. profile: the ICC profile, if any.
    decoded_bytes: about how much memory its decoding takes.
    """

    type: Type
    width: int
    height: int
    decoded_bytes: int
    components: int = 3
    simple: bool = True
    orientation: int = 1
    profile: bytes = b""


def type_of(start: bytes) -> Type:
    """The type of an image by its first `SNIFF_BYTES`. Raises BadImage for any other."""
    if start.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if start.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "WebP"
    raise BadImage(f"{_what(start)}, and only JPEG, PNG and WebP are taken")


def _what(start: bytes) -> str:
    if not start:
        return "it is empty"
    for magic, name in _OTHERS.items():
        if start.startswith(magic):
            return f"it is {name}"
    if start[4:8] == b"ftyp" and start[8:12] in _BOXES:
        return f"it is {_BOXES[start[8:12]]}"
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
    # a progressive one is kept as coefficients of two bytes each until its last scan
    samples = width * height * sum(h * v for h, v in shares) // (across * down)
    return Header(
        "JPEG",
        width,
        height,
        samples * (3 if progressive else 1) + (8 * width * height if components == 4 else 0),
        components,
        simple and not adobe_rgb and components != 4,
        orientation,
        b"".join(profile),
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


def _png(data: bytes) -> Header:
    if data[12:16] != b"IHDR":
        raise BadImage("its PNG header is corrupt")
    width, height, bits, colour = struct.unpack_from(">IIBB", data, 16)
    simple = colour in (0, 2)  # grey or RGB; transparency by a single colour is rare, and looked for later
    return Header("PNG", width, height, width * height * (8 if bits == 16 or not simple else 4), 3, False)


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
    return Header("WebP", width, height, width * height * 16, 3, False)


_READERS: Final = {"JPEG": _jpeg, "PNG": _png, "WebP": _webp}
