"""What the tests of videos share: pictures, a server with all kinds of faults, and looks at videos."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import av
import numpy as np
import numpy.typing as npt
from aiohttp import web
from PIL import Image, ImageOps

from benchmarks.similarity import ssim as ssim
from kon.kinds.video.film import Film

_Result = TypeVar("_Result")

SMALL = Film(size="320x180", fps=10, seconds=0.5)
LIMIT_S = 30.0
"""For what must happen soon: a test that waits longer has failed."""


def run(main: Awaitable[_Result]) -> _Result:
    async def within() -> _Result:
        async with asyncio.timeout(LIMIT_S):
            return await main

    return asyncio.run(within())


def photo(width: int = 640, height: int = 480, part: int = 0) -> Image.Image:
    """A real photo, of which each `part` shows another cut-out: Grace Hopper's, from matplotlib's samples."""
    whole = _hopper()
    left, top = 37 * part % (whole.width // 3), 53 * part % (whole.height // 3)
    cut = whole.crop((left, top, left + whole.width * 2 // 3, top + whole.height * 2 // 3))
    return ImageOps.fit(cut if part % 2 else ImageOps.mirror(cut), (width, height))


@cache
def _hopper() -> Image.Image:
    file = resources.files("matplotlib") / "mpl-data" / "sample_data" / "grace_hopper.jpg"
    return Image.open(io.BytesIO(file.read_bytes())).convert("RGB")


def plain(colour: str, width: int = 64, height: int = 36) -> Image.Image:
    return Image.new("RGB", (width, height), colour)


def encoded(image: Image.Image, form: str = "JPEG", **options: Any) -> bytes:
    if form == "HEIF":
        import pillow_heif  # encodes, which pi-heif, that kon itself takes, does not

        pillow_heif.register_heif_opener()
    out = io.BytesIO()
    usual = {"quality": 92} if form in ("JPEG", "WEBP", "HEIF", "AVIF") else {}
    image.save(out, form, **{**usual, **options})
    return out.getvalue()


class Video(NamedTuple):
    """A video, decoded."""

    luma: list[npt.NDArray[np.uint8]]
    chroma: list[tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]]
    times: list[float]
    duration_s: float
    stream: dict[str, Any]


def watch(path: Path) -> Video:
    luma, chroma, times = [], [], []
    with av.open(str(path), "r") as container:
        stream = container.streams.video[0]
        about = {
            name: getattr(stream.codec_context, name)
            for name in ("width", "height", "colorspace", "color_range", "color_primaries", "color_trc")
        }
        about |= {"codec": stream.codec_context.name, "rate": stream.average_rate, "frames": stream.frames}
        for frame in container.decode(stream):
            y, cb, cr = (_array(plane) for plane in frame.planes)
            luma.append(y)
            chroma.append((cb, cr))
            times.append(frame.time)
        assert container.duration is not None
        return Video(luma, chroma, times, container.duration / 1e6, about)


def _array(plane: av.video.plane.VideoPlane) -> npt.NDArray[np.uint8]:
    flat = np.frombuffer(bytes(plane), np.uint8)
    return flat.reshape(plane.height, plane.line_size)[:, : plane.width]


def luma_of(frame: av.VideoFrame) -> npt.NDArray[np.uint8]:
    return _array(frame.planes[0])


def ycbcr(rgb: tuple[int, int, int]) -> tuple[int, int, int]:
    """An sRGB colour as BT.709 in limited range (ITU-R BT.709-6, sections 3 and 4)."""
    red, green, blue = (value / 255 for value in rgb)
    luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return (
        round(16 + 219 * luma),
        round(128 + 224 * (blue - luma) / 1.8556),
        round(128 + 224 * (red - luma) / 1.5748),
    )


Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Site:
    """A server on this machine; what it answers is set by path. It counts what it is asked."""

    def __init__(self) -> None:
        self.pages: dict[str, bytes | Answer] = {}
        self.asked: list[str] = []
        self.peers: set[int] = set()
        self.at_once = 0
        self.most_at_once = 0
        self.port = 0
        self.answering: set[asyncio.Future[web.StreamResponse]] = set()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}/{path}"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path.removeprefix("/")
        self.asked.append(path)
        assert request.transport is not None
        self.peers.add(request.transport.get_extra_info("peername")[1])
        page = self.pages.get(path)
        if page is None:
            raise web.HTTPNotFound
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if isinstance(page, bytes):
                return web.Response(body=page)
            task = asyncio.ensure_future(page(request))
            self.answering.add(task)
            return await task
        finally:
            self.at_once -= 1


@asynccontextmanager
async def site() -> AsyncIterator[Site]:
    made = Site()
    app = web.Application()
    app.router.add_get("/{path:.*}", made.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.port = runner.addresses[0][1]
    try:
        yield made
    finally:
        for task in made.answering:
            task.cancel()  # those that would never end
        await runner.cleanup()
