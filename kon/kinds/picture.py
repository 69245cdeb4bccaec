"""A picture made of a picture: brought to size and equalized. Nothing here trusts the first one."""

from __future__ import annotations

import functools
import importlib.util
import io
from collections.abc import Iterator
from typing import Any, Final

import msgspec
from PIL import Image

from kon.kinds.equalize import Box, Part, Step, clahe, equalized
from kon.kinds.pictures.header import Header, Type, read_header
from kon.kinds.pictures.opened import TURNS, opened
from kon.kinds.recipe import Format, Recipe
from kon.kinds.web.limits import BadImage

SUFFIXES: Final[dict[str, str]] = {"jpeg": "jpg", "png": "png", "webp": "webp"}
_ORIENTATION: Final = 0x0112


class PictureFile(msgspec.Struct, frozen=True):
    """As a file."""

    format: Format
    width: int
    height: int
    data: bytes


def format_of(data: bytes, recipe: Recipe) -> Format:
    """What `make` will write. Raises BadImage for what is no image."""
    kept: dict[Type, Format] = {"WebP": "webp", **dict.fromkeys(("JPEG", "HEIC", "AVIF"), "jpeg")}
    return recipe.format or kept.get(read_header(data).type, "png")


def make(data: bytes, recipe: Recipe) -> PictureFile:
    """Raises BadImage with the reason: it is none, too large, cut short or corrupt, or animated."""
    header = read_header(data)
    _check_size(header.width, header.height, "its header says", recipe)
    image, profile = _decoded(data, header, recipe)
    size = _wanted(image.width, image.height, recipe)
    if size != image.size:
        image = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    if recipe.equalize is not None:
        _equalize(image, recipe)
    return _encoded(image, profile, format_of(data, recipe), recipe.quality)


@functools.cache
def _has_av() -> bool:
    """Whether PyAV is here, which decodes a HEIC tile by tile. libheif holds a picture three times."""
    return importlib.util.find_spec("av") is not None


def _check_size(width: int, height: int, who: str, recipe: Recipe) -> None:
    if width * height > recipe.max_megapixels * 1e6:
        raise BadImage(
            f"{who} {width} x {height} pixels, {width * height / 1e6:.1f} megapixels; the option "
            f"max_megapixels allows {recipe.max_megapixels:g}"
        )


def _decoded(data: bytes, header: Header, recipe: Recipe) -> tuple[Image.Image, bytes]:
    """Upright, as L, LA, RGB or RGBA; and its ICC profile, as far as that still holds."""
    try:
        if header.grid is not None and _has_av():
            from kon.kinds.video.tiles import decoded_tiles

            tiled = decoded_tiles(data, header.grid, halvings=0)
            return tiled, header.grid.profile
        with opened(data, header) as image_file:
            if header.type != "JPEG" and getattr(image_file, "n_frames", 1) > 1:
                raise BadImage("it is animated, and only still pictures are taken")
            orientation = _orientation(image_file, header)
            image_file.draft(None, _enough(header, orientation, recipe))
            image_file.load()
            profile = b"" if image_file.mode == "CMYK" else image_file.info.get("icc_profile") or b""
            image = _plain(image_file)
    except BadImage:
        raise
    except Exception as error:  # whatever broken data can lead a decoder into
        said = " ".join(str(error).split())[:120]
        raise BadImage(f"its {header.type} data are corrupt or cut short: {said}") from error
    turn = TURNS.get(orientation)
    return (image if turn is None else image.transpose(turn)), profile


def _orientation(opened: Image.Image, header: Header) -> int:
    if header.type == "JPEG":
        return header.orientation
    try:
        return int(opened.getexif().get(_ORIENTATION, 1))
    except Exception:  # EXIF data that make no sense say nothing, as in all viewers
        return 1


def _enough(header: Header, orientation: int, recipe: Recipe) -> tuple[int, int]:
    """A JPEG may be decoded at a half, a quarter or an eighth, if that is no less than this."""
    width, height = header.width, header.height
    if orientation >= 5:
        width, height = height, width
    width, height = (2 * side for side in _wanted(width, height, recipe))
    return (height, width) if orientation >= 5 else (width, height)


def _plain(image: Image.Image) -> Image.Image:
    mode = image.mode
    if mode.startswith(("I", "F")):  # 16 bits of grey, which `convert` would clip
        return image.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    if mode in ("PA", "RGBa") or (mode in ("P", "RGB") and "transparency" in image.info):
        return image.convert("RGBA")
    if mode == "La" or (mode in ("1", "L") and "transparency" in image.info):
        return image.convert("LA")
    if mode == "1":
        return image.convert("L")
    return image if mode in ("L", "LA", "RGB", "RGBA") else image.convert("RGB")


def _wanted(width: int, height: int, recipe: Recipe) -> tuple[int, int]:
    """The size of the result. Raises BadImage where that is too large."""
    if recipe.thumbnail is not None:
        scale = min(1.0, recipe.thumbnail[0] / width, recipe.thumbnail[1] / height)
        return max(1, round(width * scale)), max(1, round(height * scale))
    if recipe.resize is None:
        return width, height
    across, down = recipe.resize
    if across is None:
        assert down is not None
        across = max(1, round(width * down / height))
    if down is None:
        down = max(1, round(height * across / width))
    _check_size(across, down, "it would have", recipe)
    return across, down


def _equalize(image: Image.Image, recipe: Recipe) -> None:
    """Equalize a picture in its place, part by part: copies of 48 megapixels would take 800 MB."""
    luminance = image.mode in ("L", "LA") or recipe.channels == "luminance"

    def channel(number: int) -> Part:
        def part(box: Box) -> tuple[Image.Image, Image.Image | None]:
            colours, alpha = _apart(image.crop(box), luminance)
            # what can't be seen has no part in the histogram
            visible = None if alpha is None else alpha.point([0, *[255] * 255])
            return colours.getchannel(number), visible

        return part

    def steps(number: int) -> Iterator[Step]:
        if recipe.equalize == "clahe":
            return clahe(image.size, channel(number), recipe.tiles, recipe.clip)
        return equalized(image.size, channel(number))

    # tables of all channels are made before the first part is changed
    for each in zip(*[steps(number) for number in range(1 if luminance else 3)], strict=True):
        box = each[0][0]
        colours, alpha = _apart(image.crop(box), luminance)
        channels = list(colours.split())
        for number, (_, change) in enumerate(each):
            channels[number] = change(channels[number])
        made = Image.merge(colours.mode, channels)
        if made.mode == "YCbCr":
            made = made.convert("RGB")
        if alpha is not None:
            made.putalpha(alpha)
        image.paste(made, box)


def _apart(part: Image.Image, luminance: bool) -> tuple[Image.Image, Image.Image | None]:
    """A part's colours, as L, RGB or, for their luminance, YCbCr; and its alpha."""
    alpha = part.getchannel("A") if part.mode in ("LA", "RGBA") else None
    colours = part if alpha is None else part.convert(part.mode[:-1])
    return colours.convert("YCbCr") if luminance and colours.mode == "RGB" else colours, alpha


def _encoded(image: Image.Image, profile: bytes, form: Format, quality: int) -> PictureFile:
    if form == "jpeg" and image.mode in ("LA", "RGBA"):
        raise BadImage("it has transparent parts, which JPEG can't hold; the option format: png or webp can")
    options: dict[str, Any] = {} if form == "png" else {"quality": quality}
    if profile:
        options["icc_profile"] = profile
    out = io.BytesIO()
    image.save(out, form.upper(), **options)
    return PictureFile(form, image.width, image.height, out.getvalue())
