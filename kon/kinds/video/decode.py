"""From an image's bytes to a letterboxed picture in BT.709.

JPEG, which nearly all photos are, goes through libavcodec: that is four times as fast as Pillow, never
becomes RGB, and tells of broken data that libjpeg only warns of. All else goes through Pillow.
"""

from __future__ import annotations

import io

import av
from av.video.reformatter import ColorRange, Colorspace, Interpolation
from PIL import Image, ImageCms, ImageColor

from kon.core.errors import ConfigurationError
from kon.kinds.pictures.header import Header
from kon.kinds.pictures.refusal import BadImage
from kon.kinds.pictures.upright import TURNS
from kon.kinds.video.canvas import Canvas
from kon.kinds.video.film import Film
from kon.kinds.video.planes import fitted


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
        self._canvas = Canvas(film.width, film.height, self._background)

    def decode(self, data: bytes, header: Header) -> av.VideoFrame:
        """A yuv420p frame of the film's size. Raises BadImage for what can't be decoded to its end."""
        try:
            return self._by_libav(data, header) if header.simple else self._by_pillow(data, header)
        except (av.FFmpegError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise BadImage(f"its {header.type} data are corrupt or cut short: {_short(error)}") from error

    def _by_libav(self, data: bytes, header: Header) -> av.VideoFrame:
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
            return self._of_rgb(_in_srgb(_image_of(scaled), header.profile), header.orientation)
        return self._canvas.of_yuv(frame, size, header.orientation, full_range)

    def _by_pillow(self, data: bytes, header: Header) -> av.VideoFrame:
        size = self._stored(header)
        if header.components == 4:
            _frame(data, header, size)  # Pillow does not tell of broken data
        with Image.open(io.BytesIO(data)) as opened:
            opened.draft(None, size)  # a JPEG is decoded at a half, a quarter or an eighth of its size
            image = _eight_bits(opened)
            shrink = min(image.width // size[0], image.height // size[1]) // 2
            if shrink > 1:
                image = image.reduce(shrink)
            profile = opened.info.get("icc_profile") or b""
            if image.mode == "CMYK" or (profile and image.mode == "RGB" and not _is_srgb(profile)):
                image = _in_srgb(image, profile)
            # PNG and WebP may have EXIF data as well
            return self._of_rgb(image, opened.getexif().get(0x0112, 1))

    def _of_rgb(self, image: Image.Image, orientation: int) -> av.VideoFrame:
        image = _upright(image, orientation)
        size = fitted(*image.size, self._size)
        if image.size != size:
            image = image.resize(size, Image.Resampling.BICUBIC)
        if image.mode == "RGBA":
            under = Image.new("RGBA", image.size, (*self._background, 255))
            image = Image.alpha_composite(under, image)
        frame: av.VideoFrame = av.VideoFrame.from_image(image.convert("RGB"))  # type: ignore[no-untyped-call]
        return self._canvas.of_rgb(frame)

    def _stored(self, header: Header) -> tuple[int, int]:
        """The size that the picture will have, as it lies before it is made upright."""
        if header.orientation < 5:
            return fitted(header.width, header.height, self._size)
        height, width = fitted(header.height, header.width, self._size)
        return width, height


def _frame(data: bytes, header: Header, size: tuple[int, int]) -> av.VideoFrame:
    """The decoded image: a JPEG at a half, a quarter or an eighth, where that is no less than `size`."""
    codec = av.CodecContext.create("mjpeg" if header.type == "JPEG" else "webp", "r")
    codec.thread_count = 1
    # without `explode`, broken data are patched over with grey, and nobody hears of it
    codec.options = {"err_detect": "explode"}
    if header.type == "JPEG":
        enough = [k for k in (1, 2, 3) if header.width >> k >= size[0] and header.height >> k >= size[1]]
        codec.options = {"err_detect": "explode", "lowres": str(max(enough, default=0))}
    frames = codec.decode(av.Packet(data)) or codec.decode(None)
    if not frames or not isinstance(frames[0], av.VideoFrame):
        raise BadImage(f"its {header.type} data hold no picture")
    return frames[0]


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


def _is_srgb(profile: bytes) -> bool:
    return b"sRGB" in profile or "sRGB".encode("utf-16-be") in profile


def _in_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """By its profile. Without one, or with one that makes no sense, by Pillow's formula, as in viewers."""
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            found = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except (ImageCms.PyCMSError, OSError):
            found = None
        if found is not None:
            return found
    return image.convert("RGB")


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:120]
