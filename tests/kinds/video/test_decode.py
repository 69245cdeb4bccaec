"""From bytes to letterboxed pictures: shapes and colours, whatever the image is."""

from __future__ import annotations

import io
import sys
from typing import Any

import av
import msgspec
import numpy as np
import pytest
from PIL import Image, ImageCms

from kon.core.errors import ConfigurationError
from kon.kinds.pictures.header import read_header
from kon.kinds.pictures.opened import _take_heic
from kon.kinds.video.decode import Decoder, _reduced
from kon.kinds.video.film import Film
from kon.kinds.video.planes import fitted, planes_of
from kon.kinds.web.limits import BadImage
from tests.kinds.video.given import encoded, luma_of, photo, plain, ssim, ycbcr

FILM = Film(size="640x360", fps=25)


def decoded(data: bytes, film: Film = FILM) -> av.VideoFrame:
    return Decoder(film).decode(data, read_header(data))


def middle(frame: av.VideoFrame) -> tuple[int, ...]:
    return tuple(int(np.median(np.asarray(plane)[_middle(plane)])) for plane in planes_of(frame))


def _middle(plane: Image.Image) -> tuple[slice, slice]:
    across, down = plane.width // 2, plane.height // 2
    return slice(down - 4, down + 4), slice(across - 4, across + 4)


def near(found: tuple[int, ...], wanted: tuple[int, ...], by: int = 2) -> bool:
    return all(abs(one - other) <= by for one, other in zip(found, wanted, strict=True))


COLOURS = ["red", "lime", "blue", "white", "black", "#808080", "#c87828"]


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("JPEG", {"subsampling": "4:2:0"}),
        ("JPEG", {"subsampling": "4:4:4"}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {}),
    ],
)
def test_colours_are_those_of_bt709_in_limited_range(colour: str, form: str, options: dict[str, Any]) -> None:
    image = plain(colour, 320, 180)
    rgb = image.getpixel((0, 0))
    assert isinstance(rgb, tuple)
    wanted = ycbcr((int(rgb[0]), int(rgb[1]), int(rgb[2])))
    assert near(middle(decoded(encoded(image, form, **options))), wanted, by=3), wanted


def test_the_reference_for_colours_is_right() -> None:
    """Red, green, white and black by ITU-R BT.709-6; and the range is not the full one."""
    assert ycbcr((255, 0, 0)) == (63, 102, 240)
    assert ycbcr((0, 255, 0)) == (173, 42, 26)
    assert ycbcr((255, 255, 255)) == (235, 128, 128)
    assert ycbcr((0, 0, 0)) == (16, 128, 128)


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "LA", "RGBA", "I;16"])
def test_grey_palette_cmyk_and_sixteen_bits(mode: str) -> None:
    if mode == "I;16":
        image = Image.new("I;16", (320, 180), 0xC8 * 257)
    else:
        image = Image.new("RGB", (320, 180), (200, 200, 200)).convert("L" if mode == "1" else mode)
        if mode == "1":
            image = image.point(lambda _: 255).convert("1")
    form = "JPEG" if mode == "CMYK" else "PNG"
    wanted = ycbcr((255, 255, 255) if mode == "1" else (200, 200, 200))
    assert near(middle(decoded(encoded(image, form))), wanted, by=3)


def test_a_grey_jpeg() -> None:
    assert near(middle(decoded(encoded(Image.new("L", (320, 180), 200)))), ycbcr((200, 200, 200)))


def test_transparency_shows_the_background() -> None:
    film = Film(size="640x360", background="#0000ff")
    image = Image.new("RGBA", (640, 360), (255, 0, 0, 0))
    assert near(middle(decoded(encoded(image, "PNG"), film)), ycbcr((0, 0, 255)))
    assert near(middle(decoded(encoded(image, "WEBP", lossless=True), film)), ycbcr((0, 0, 255)))
    half = Image.new("RGBA", (640, 360), (255, 0, 0, 128))
    assert near(middle(decoded(encoded(half, "PNG"), film)), ycbcr((128, 0, 127)))
    palette = Image.new("P", (640, 360), 0)
    palette.putpalette([255, 0, 0])
    assert near(middle(decoded(encoded(palette, "PNG", transparency=0), film)), ycbcr((0, 0, 255)))


def striped() -> Image.Image:
    """Red, green and blue from top to bottom, twice as high as wide."""
    image = Image.new("RGB", (300, 600), "lime")
    image.paste("red", (0, 0, 300, 100))
    image.paste("blue", (0, 500, 300, 600))
    return image


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_a_cropped_image_fills_the_frame_from_its_middle(form: str) -> None:
    frame = decoded(encoded(striped(), form), msgspec.structs.replace(FILM, fit="crop"))
    luma = luma_of(frame)[:, : FILM.width]
    assert abs(int(luma.min()) - int(luma.max())) <= 4
    assert near(middle(frame), ycbcr((0, 255, 0)), by=3)


def test_a_cropped_image_is_as_sharp_and_upright_as_any() -> None:
    film = msgspec.structs.replace(FILM, fit="crop")
    image = photo(800, 800)
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = image.transpose(Image.Transpose.ROTATE_90)
    wanted = luma_of(decoded(encoded(image.crop((0, 175, 800, 625)), "PNG"), film))
    assert ssim(luma_of(decoded(encoded(lying, exif=exif), film)), wanted) > 0.95


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_a_blurred_image_stands_on_itself(form: str) -> None:
    film = msgspec.structs.replace(FILM, fit="blur")
    boxed, blurred = (luma_of(decoded(encoded(striped(), form), each)) for each in (FILM, film))
    assert np.array_equal(boxed[:, 240:400], blurred[:, 240:400])
    green, black = ycbcr((0, 255, 0))[0], ycbcr((0, 0, 0))[0]
    assert (boxed[180, 40], blurred[180, 40]) == pytest.approx((black, black + (green - black) * 0.6), abs=5)


@pytest.mark.parametrize("form", ["HEIF", "AVIF", "GIF", "BMP", "TIFF"])
def test_what_albums_hold_beside_jpegs(form: str) -> None:
    image = photo(640, 360)
    kept = Image.open(io.BytesIO(encoded(image, "GIF"))).convert("RGB") if form == "GIF" else image
    wanted = luma_of(decoded(encoded(kept, "PNG")))
    assert ssim(luma_of(decoded(encoded(image, form))), wanted) > 0.95


@pytest.mark.parametrize("form", ["AVIF", "TIFF"])
def test_they_are_brought_upright(form: str) -> None:
    """A HEIC is turned by a property of its own, which libheif heeds; its EXIF data do not count."""
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = Image.new("RGB", (120, 240), "black")
    upright.paste("white", (0, 0, 120, 60))
    lying = upright.transpose(Image.Transpose.ROTATE_90)
    luma = luma_of(decoded(encoded(lying, form, exif=exif)))
    assert (luma[20, 320] > 200, luma[340, 320] < 40) == (True, True)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "CMYK"])
@pytest.mark.parametrize("factor", [2, 3, 7])
def test_strips_make_the_same_of_a_picture_as_the_whole(mode: str, factor: int) -> None:
    image = photo(1_003, 1_501).convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    strips, whole = np.asarray(_reduced(image, factor)), np.asarray(image.reduce(factor))
    assert np.array_equal(strips, whole)


def test_a_heic_says_what_is_missing_where_it_can_not_be_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    heic = encoded(photo(), "HEIF")
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    _take_heic.cache_clear()
    with pytest.raises(BadImage, match=r"it is a HEIC, and this Python lacks pi-heif.*pip install pi-heif"):
        decoded(heic)


LINEAR_GREY = 188
"""What half of linear light is in sRGB."""


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_a_profile_is_taken_into_account_whatever_it_is_called(form: str, named: bool) -> None:
    image = plain("#808080", 320, 180)
    found = middle(decoded(encoded(image, form, icc_profile=gamma_profile(1.0, named))))
    assert near(found, ycbcr((LINEAR_GREY,) * 3), by=3)


def test_what_is_srgb_or_makes_no_sense_changes_nothing() -> None:
    image = plain("#808080", 320, 180)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (srgb, renamed(srgb), b"nonsense"):
        assert near(middle(decoded(encoded(image, icc_profile=profile))), ycbcr((128, 128, 128)))


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_a_profile_of_greys_is_taken_into_account(form: str) -> None:
    image = plain("#808080", 320, 180).convert("L")
    found = middle(decoded(encoded(image, form, icc_profile=grey_profile(1.0))))
    assert near(found, ycbcr((LINEAR_GREY,) * 3), by=1)
    assert near(middle(decoded(encoded(image, form))), ycbcr((128, 128, 128)), by=1)


def test_a_profile_is_taken_into_account_where_there_is_alpha() -> None:
    image = plain("#808080", 320, 180).convert("RGBA")
    image.paste((128, 128, 128, 0), (0, 0, 320, 60))
    frame = decoded(encoded(image, "PNG", icc_profile=gamma_profile(1.0)))
    assert near(middle(frame), ycbcr((LINEAR_GREY,) * 3))
    assert luma_of(frame)[20, 320] == ycbcr((0, 0, 0))[0]


def _tag(kind: bytes, content: bytes) -> bytes:
    return kind + bytes(4) + content


def grey_profile(gamma: float) -> bytes:
    """ICC.1:2010, section 7 and 9: a header, a table of tags, and the tags."""
    white = _tag(b"XYZ ", b"".join(round(value * 65_536).to_bytes(4, "big") for value in (0.9642, 1, 0.8249)))
    curve = _tag(b"curv", (1).to_bytes(4, "big") + round(gamma * 256).to_bytes(2, "big") + bytes(2))
    text = _tag(b"desc", (5).to_bytes(4, "big") + b"sRGB\0" + bytes(79))
    tags, table, at = b"", (3).to_bytes(4, "big"), 128 + 4 + 3 * 12
    for name, tag in ((b"wtpt", white), (b"kTRC", curve), (b"desc", text)):
        table += name + (at + len(tags)).to_bytes(4, "big") + len(tag).to_bytes(4, "big")
        tags += tag
    head = bytearray(128)
    head[0:4] = (128 + len(table) + len(tags)).to_bytes(4, "big")
    head[8:12] = bytes((2, 0x40, 0, 0))
    head[12:24] = b"mntrGRAYXYZ "
    head[36:40] = b"acsp"
    head[68:80] = white[8:]
    return bytes(head) + table + tags


def renamed(profile: bytes) -> bytes:
    return profile.replace("sRGB".encode("utf-16-be"), "none".encode("utf-16-be")).replace(b"sRGB", b"none")


def gamma_profile(gamma: float, named: bool = True) -> bytes:
    """sRGB with another tone curve; with its name, which says nothing of colours, or without."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for number in range(int.from_bytes(profile[128:132], "big")):
        entry = 132 + 12 * number
        if bytes(profile[entry : entry + 4]) in (b"rTRC", b"gTRC", b"bTRC"):
            start = int.from_bytes(profile[entry + 4 : entry + 8], "big")
            curve = b"curv" + bytes(4) + (1).to_bytes(4, "big") + round(gamma * 256).to_bytes(2, "big")
            profile[start : start + len(curve)] = curve
    return bytes(profile) if named else renamed(bytes(profile))


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation(form: str, orientation: int) -> None:
    """Red is the left half of the upright picture, and its upper left quarter is bright."""
    upright = Image.new("RGB", (480, 240), "black")
    upright.paste("red", (0, 0, 240, 240))
    upright.paste("white", (0, 0, 240, 120))
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(undo[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = luma_of(decoded(encoded(stored, form, exif=exif)))[20:-20]  # 640 x 320 of 640 x 360
    quarters = [picture[80, 160], picture[80, 480], picture[240, 160], picture[240, 480]]
    wanted = [ycbcr(colour)[0] for colour in ((255, 255, 255), (0, 0, 0), (255, 0, 0), (0, 0, 0))]
    assert near(tuple(map(int, quarters)), tuple(wanted), by=4)


@pytest.mark.parametrize(
    ("size", "inner"),
    [
        ((640, 360), (640, 360)),
        ((64, 36), (640, 360)),
        ((1000, 1000), (360, 360)),
        ((2000, 500), (640, 160)),
        ((100, 3000), (12, 360)),
        ((3001, 2003), (540, 360)),
        ((1, 1), (360, 360)),
        ((5000, 1), (640, 2)),
    ],
)
def test_pictures_of_any_size_are_letterboxed(size: tuple[int, int], inner: tuple[int, int]) -> None:
    assert fitted(*size, (640, 360)) == inner
    for form in ("JPEG", "PNG"):
        frame = decoded(encoded(plain("white", *size), form))
        assert [plane.size for plane in planes_of(frame)] == [(640, 360), (320, 180), (320, 180)]
        rows, columns = np.nonzero(luma_of(frame) > 128)
        found = (int(columns.max() - columns.min()) + 1, int(rows.max() - rows.min()) + 1)
        assert found == inner, form
        assert luma_of(frame)[0, 0] == (235 if inner == (640, 360) else 16)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("size", [(640, 360), (1283, 721), (3000, 1700)])
def test_the_picture_is_that_of_a_plain_decoder(form: str, size: tuple[int, int]) -> None:
    image = photo(*size)
    data = encoded(image, form)
    width, height = fitted(*size, (640, 360))
    plainly = Image.open(io.BytesIO(data)).convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
    y = np.asarray(plainly.convert("RGB"), np.float64) @ [0.2126, 0.7152, 0.0722] * 219 / 255 + 16
    left, top = (640 - width) // 2, (360 - height) // 2
    picture = luma_of(decoded(data))[top : top + height, left : left + width]
    assert ssim(picture, np.round(y).astype(np.uint8)) > 0.97
    # no brighter nor darker: swscale's own way from BT.601 to BT.709 is too dark by more than a level
    assert abs(float((picture - y).mean())) < 0.3


@pytest.mark.parametrize(
    "options", [{"subsampling": "4:2:0"}, {"subsampling": "4:2:2"}, {"subsampling": "4:4:4"}]
)
def test_colours_of_a_jpeg_on_its_side_are_where_they_belong(options: dict[str, Any]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = photo(500, 400)
    stored = image.transpose(Image.Transpose.ROTATE_90)
    upright, turned = decoded(encoded(image, **options)), decoded(encoded(stored, exif=exif, **options))
    for one, other in zip(planes_of(upright), planes_of(turned), strict=True):
        assert np.abs(np.asarray(one, int) - np.asarray(other, int)).mean() < 1.5


def test_what_a_picture_does_not_cover_is_the_background() -> None:
    film = Film(size="640x360", background="#c87828")
    for form in ("JPEG", "PNG"):
        frame = decoded(encoded(plain("white", 300, 300), form), film)
        corner = tuple(int(np.asarray(plane)[0, 0]) for plane in planes_of(frame))
        assert near(corner, ycbcr((0xC8, 0x78, 0x28)), by=1), form


def _cut(data: bytes) -> bytes:
    return data[: len(data) * 6 // 10]


def _holes(data: bytes) -> bytes:
    start = len(data) // 2
    return data[:start] + bytes(3_000) + data[start + 3_000 :]


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_an_image_that_is_cut_short_is_refused(form: str) -> None:
    with pytest.raises(BadImage, match="corrupt or cut short"):
        decoded(_cut(encoded(photo(), form)))


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"icc_profile": gamma_profile(1.0)}])
def test_a_broken_jpeg_is_refused_and_not_patched_over_with_grey(options: dict[str, Any]) -> None:
    for data in (_holes(encoded(photo(), **options)), _cut(encoded(photo(), **options)) + b"\xff\xd9"):
        with pytest.raises(BadImage, match="corrupt or cut short"):
            decoded(data)


def test_a_broken_cmyk_jpeg_is_refused() -> None:
    with pytest.raises(BadImage, match="corrupt or cut short"):
        decoded(_holes(encoded(photo().convert("CMYK"))))


def test_a_background_that_is_no_colour_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="expected a colour"):
        Decoder(Film(background="blackish"))
