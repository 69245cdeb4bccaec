"""From an image's bytes to a letterboxed picture in BT.709.

JPEG, which nearly all photos are, goes through libavcodec: that is four times as fast as Pillow, never
becomes RGB, and reports broken data that libjpeg only warns about. All else goes through Pillow.
"""

from __future__ import annotations

import functools
import io
from typing import Final

import av
from av.video.reformatter import ColorRange, Colorspace, Interpolation
from PIL import Image, ImageChops, ImageCms, ImageColor

from kon.core.errors import ConfigurationError
from kon.kinds.pictures.grid import Grid
from kon.kinds.pictures.header import Header
from kon.kinds.pictures.opened import TURNS, opened
from kon.kinds.video.film import Film, Place
from kon.kinds.video.planes import Canvas, Framed, fitted
from kon.kinds.video.tiles import decoded_tiles
from kon.kinds.web.limits import BadImage


class Decoder:
    """Decodes for one look. May be used by several threads at once."""

    def __init__(self, film: Film) -> None:
        """Raises ConfigurationError for a background that is no colour."""
        self._size = (film.width, film.height)
        try:
            self._background = ImageColor.getrgb(film.background)[:3]
        except ValueError as error:
            raise ConfigurationError(
                f'background: expected a colour such as "black" or "#102030", got {film.background!r:.80}'
            ) from error
        self._cover, self._focus = film.fit == "crop", film.focus
        self._canvas = Canvas(film.width, film.height, self._background, film.fit)

    def decode(self, data: bytes, header: Header) -> av.VideoFrame:
        """A yuv420p frame of the film's size. Raises BadImage for what can't be decoded to its end."""
        return self.framed(data, header, self._focus).frame

    def framed(self, data: bytes, header: Header, focus: Place) -> Framed:
        """What `decode` makes, with the place of the image's focus in the frame."""
        try:
            if header.grid is not None:
                return self._by_tiles(data, header, header.grid, focus)
            grey = header.components == 1 and header.profile
            return (
                self._by_libav(data, header, focus)
                if header.simple and not grey
                else self._by_pillow(data, header, focus)
            )
        except (av.FFmpegError, OSError, SyntaxError, ValueError) as error:
            raise BadImage(f"its {header.type} data are corrupt or cut short: {_short(error)}") from error

    def decoded_bytes(self, header: Header) -> int:
        """About how much memory an image takes as it is decoded for this look, in bytes."""
        return header.decoded_bytes(1 << _halvings(header, self._stored(header)))

    def _by_libav(self, data: bytes, header: Header, focus: Place) -> Framed:
        size = self._stored(header)
        frame = _frame(data, header, size)
        full_range = header.type == "JPEG"
        if header.profile and header.components == 3 and not _is_srgb(header.profile):
            scaled = frame.reformat(
                *size,
                "rgb24",
                src_colorspace=Colorspace.ITU601,  # that of JFIF and of WebP
                dst_colorspace=Colorspace.ITU709,
                src_color_range=ColorRange.JPEG if full_range else ColorRange.MPEG,
                dst_color_range=ColorRange.JPEG,
                interpolation=Interpolation.BICUBIC,
            )
            return self._of_rgb(_in_srgb(_image_of(scaled), header.profile), header.orientation, focus)
        return self._canvas.of_yuv(frame, size, header.orientation, full_range, focus)

    def _by_tiles(self, data: bytes, header: Header, grid: Grid, focus: Place) -> Framed:
        image = decoded_tiles(data, grid, _halvings(header, self._stored(header)))
        profile = image.info["icc_profile"]
        image = _in_srgb(image, profile) if profile and not _is_srgb(profile) else image
        return self._of_rgb(image, 1, focus)

    def _by_pillow(self, data: bytes, header: Header, focus: Place) -> Framed:
        size = self._stored(header)
        if header.components == 4:
            _frame(data, header, size)  # Pillow does not report broken data
        with opened(data, header) as image_file:
            image_file.draft(None, size)  # a JPEG is decoded at a half, a quarter or an eighth of its size
            image = _eight_bits(image_file)
            shrink = min(image.width // size[0], image.height // size[1]) // 2
            if shrink > 1:
                image = _reduced(image, shrink)
            profile = image_file.info.get("icc_profile") or b""
            if image.mode in ("CMYK", "L") or (profile and image.mode == "RGB" and not _is_srgb(profile)):
                image = _in_srgb(image, profile)
            elif profile and image.mode == "RGBA" and not _is_srgb(profile):
                opaque = _in_srgb(image.convert("RGB"), profile)
                opaque.putalpha(image.getchannel("A"))
                image = opaque
            # others than JPEG may have EXIF data as well
            return self._of_rgb(image, image_file.getexif().get(0x0112, 1), focus)

    def _of_rgb(self, image: Image.Image, orientation: int, focus: Place) -> Framed:
        image = _upright(image, orientation)
        size = fitted(*image.size, self._size, self._cover)
        if image.size != size:
            image = image.resize(size, Image.Resampling.BICUBIC)
        if image.mode == "RGBA":
            under = Image.new("RGBA", image.size, (*self._background, 255))
            image = Image.alpha_composite(under, image)
        frame: av.VideoFrame = av.VideoFrame.from_image(image.convert("RGB"))  # type: ignore[no-untyped-call]
        return self._canvas.of_rgb(frame, focus)

    def _stored(self, header: Header) -> tuple[int, int]:
        """The size that the picture will have, as it lies before it is made upright."""
        if header.orientation < 5:
            return fitted(header.width, header.height, self._size, self._cover)
        height, width = fitted(header.height, header.width, self._size, self._cover)
        return width, height


def _frame(data: bytes, header: Header, size: tuple[int, int]) -> av.VideoFrame:
    """The decoded image: a JPEG at a half, a quarter or an eighth, where that is no less than `size`."""
    codec = av.CodecContext.create("mjpeg" if header.type == "JPEG" else "webp", "r")
    codec.thread_count = 1
    # without `explode`, broken data are patched over with grey, and nobody hears of it
    codec.options = {"err_detect": "explode"}
    if header.type == "JPEG":
        codec.options = {"err_detect": "explode", "lowres": str(_halvings(header, size))}
    frames = codec.decode(av.Packet(data)) or codec.decode(None)
    if not frames or not isinstance(frames[0], av.VideoFrame):
        raise BadImage(f"its {header.type} data hold no picture")
    return frames[0]


def _halvings(header: Header, size: tuple[int, int]) -> int:
    """How often a JPEG or a HEIC of tiles can be halved as it is decoded, and be no less than `size`: three
    times at most."""
    enough = [k for k in (1, 2, 3) if header.width >> k >= size[0] and header.height >> k >= size[1]]
    return max(enough, default=0)


def _image_of(frame: av.VideoFrame) -> Image.Image:
    image: Image.Image = frame.to_image()  # type: ignore[no-untyped-call]
    return image


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    turn = TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)


def _eight_bits(image: Image.Image) -> Image.Image:
    """As L, RGB, RGBA or CMYK, loaded."""
    image.load()
    if image.mode.startswith("I"):  # 16 bits of grey, which `convert` would clip
        return image.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    if image.mode in ("PA", "LA", "La", "RGBa") or "transparency" in image.info:
        return image.convert("RGBA")
    return image if image.mode in ("L", "RGB", "RGBA", "CMYK") else image.convert("RGB")


_STRIP: Final = 128
"""Rows of a picture that are made smaller at once."""


def _reduced(image: Image.Image, factor: int) -> Image.Image:
    """As `Image.reduce` makes it, strip by strip: a picture with alpha would be copied whole first."""
    width, height = (-(-side // factor) for side in image.size)
    made = Image.new(image.mode, (width, height))
    for top in range(0, height, _STRIP):
        below = min(image.height, (top + _STRIP) * factor)
        made.paste(image.crop((0, top * factor, image.width, below)).reduce(factor), (0, top))
    return made


_STEPS: Final = 9
"""Levels of each colour that a profile is tried with."""


@functools.lru_cache(maxsize=64)  # an album has few, each some kilobytes
def _is_srgb(profile: bytes) -> bool:
    """Whether it changes no colour by more than a level. What profiles are called says nothing.

    A profile that makes no sense counts as sRGB, as in viewers.
    """
    grid = Image.new("RGB", (_STEPS**2, _STEPS))
    levels = [round(255 * step / (_STEPS - 1)) for step in range(_STEPS)]
    grid.putdata([(red, green, blue) for red in levels for green in levels for blue in levels])
    changed = _by_profile(grid, profile)
    if changed is None:
        return True
    counts = ImageChops.difference(grid, changed).histogram()  # of 256 levels, for each colour
    return not any(count for level, count in enumerate(counts) if level % 256 > 1)


def _by_profile(image: Image.Image, profile: bytes) -> Image.Image | None:
    """The picture in sRGB; None where the profile makes no sense, or is one of other colours."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None


def _in_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """By its profile. Without one, or with one that makes no sense, by Pillow's formula, as in viewers."""
    found = _by_profile(image, profile) if profile else None
    return image.convert("RGB") if found is None else found


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:120]
