"""The videos in a real browser: they play, they seek, and the right picture shows."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pytest
from aiohttp import web
from PIL import Image, ImageOps

from kon.kinds.pictures.header import read_header
from kon.kinds.video import demo
from kon.kinds.video.decode import Decoder
from kon.kinds.video.film import Film
from tests.browsers import CHROMIUM, FIREFOX, Tab, chromium, firefox
from tests.kinds.video.filming import filmed, tone
from tests.kinds.video.given import encoded, plain
from tests.kinds.video.studio import COLOURS

LIMIT_S = 100.0

PAGE = """<!DOCTYPE html><title>video</title>
<video id=v controls muted src="/VIDEO" width=480></video>
<script>
const v = document.getElementById("v"), log = [];
for (const e of ["error", "stalled"]) v.addEventListener(e, () => log.push(e));
const once = (event) => new Promise((done, fail) => {
  v.addEventListener(event, done, {once: true});
  v.addEventListener("error", () => fail(new Error(v.error.message)), {once: true});
});
const ready = v.readyState >= 2 ? Promise.resolve() : once("loadeddata");
function pixel() {
  const c = document.createElement("canvas");
  c.width = v.videoWidth; c.height = v.videoHeight;
  const g = c.getContext("2d");
  g.drawImage(v, 0, 0);
  return [...g.getImageData(c.width >> 1, c.height >> 1, 1, 1).data].slice(0, 3);
}
async function at(time) {
  await ready;
  const sought = once("seeked");
  v.currentTime = time;
  await sought;
  await new Promise((done) => v.requestVideoFrameCallback ? setTimeout(done, 100) : setTimeout(done, 300));
  return {time: v.currentTime, pixel: pixel()};
}
async function play() {
  await ready;
  v.currentTime = 0;
  v.playbackRate = 2;
  const ended = once("ended");
  await v.play();
  await ended;
  const quality = v.getVideoPlaybackQuality();
  const corrupted = quality.corruptedVideoFrames || 0;
  return {time: v.currentTime, frames: quality.totalVideoFrames, corrupted, log};
}
async function still(time) {
  await at(time);
  v.playbackRate = 1;
  const moving = once("timeupdate");
  await v.play();
  await moving;
  const paused = once("pause");
  v.pause();
  await paused;
  await at(time);  // a busy machine may have paused it seconds too late
  const c = document.createElement("canvas");
  c.width = 64; c.height = 36;
  const g = c.getContext("2d");
  g.drawImage(v, 0, 0, 64, 36);
  const box = v.getBoundingClientRect();
  return {
    time: v.currentTime, pixels: [...g.getImageData(0, 0, 64, 36).data],
    box: [box.left, box.top, box.right, box.bottom].map((side) => side * devicePixelRatio),
  };
}
async function about() {
  await ready;
  return {duration: v.duration, width: v.videoWidth, height: v.videoHeight};
}
</script>"""


GIF_PAGE = """<!DOCTYPE html><title>gif</title><body style="margin: 0"><img id=v src="/VIDEO">
<script>
async function about() {
  const v = document.getElementById("v");
  await v.decode();
  return {width: v.naturalWidth, height: v.naturalHeight, scale: devicePixelRatio};
}
</script>"""


@asynccontextmanager
async def served(video: Path) -> AsyncIterator[str]:
    """A page with the video, from a server on this machine."""

    async def page(request: web.Request) -> web.Response:
        text = (GIF_PAGE if video.suffix == ".gif" else PAGE).replace("VIDEO", video.name)
        return web.Response(text=text, content_type="text/html")

    async def file(request: web.Request) -> web.FileResponse:
        return web.FileResponse(video)

    app = web.Application()
    app.router.add_get("/", page)
    app.router.add_get(f"/{video.name}", file)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


def chromium_with_the_page(url: str, home: Path) -> AbstractAsyncContextManager[Tab]:
    return chromium(url, home, "typeof about == 'function'")


Opened = Callable[[str, Path], AbstractAsyncContextManager[Tab]]

BROWSERS: dict[str, tuple[str | None, Opened]] = {
    "chromium": (CHROMIUM, chromium_with_the_page),
    "firefox": (FIREFOX, firefox),
}

BOTH: Final = ["chromium", pytest.param("firefox", marks=pytest.mark.slow)]
"""A browser takes seconds to start: `make test` tries each format in one, `make soak` each film in both."""

FILMS: Final = {
    "default": (Film(), False),
    "sound": (Film(size="640x360", seconds=0.4), True),
    "two seconds each": (Film(size="640x360", seconds=2.0), False),
    "encode": (Film(size="640x360", repeat="encode"), False),
    "transitions": (
        Film(size="640x360", transition="dip_black", transition_s=0.04, fade_out_s=0.04),
        True,
    ),
    "29.97": (Film(size="640x360", fps=29.97), True),
    "webm": (Film(size="640x360", format="webm"), True),
    "webm at 23.976": (Film(size="640x360", format="webm", fps=23.976), False),
}
QUICK: Final = {("29.97", "chromium"), ("webm", "chromium")}
PLAYED: Final = [
    pytest.param(
        *FILMS[film], name, id=f"{film}-{name}", marks=[] if (film, name) in QUICK else [pytest.mark.slow]
    )
    for film in FILMS
    for name in BROWSERS
]


def colours(folder: Path, film: Film, sound: bool = False) -> Path:
    decoder = Decoder(film)
    pictures = [encoded(plain("rgb({},{},{})".format(*rgb), 320, 180)) for rgb in COLOURS]
    frames = [decoder.decode(data, read_header(data)) for data in pictures]
    return filmed(folder, film, frames, tone(2.0) if sound else None)


def browser(name: str) -> Opened:
    program, opened = BROWSERS[name]
    if program is None:
        pytest.skip(f"there is no {name} on this machine; `make browser-tools` installs it, as root")
    return opened


@pytest.mark.parametrize(("film", "sound", "name"), PLAYED)
def test_a_browser_plays_and_seeks(tmp_path: Path, name: str, film: Film, sound: bool) -> None:
    opened = browser(name)
    video = colours(tmp_path, film, sound)

    async def main() -> None:
        home = tmp_path / "home"
        home.mkdir()
        async with asyncio.timeout(LIMIT_S), served(video) as url, opened(url, home) as page:
            about = await page.value("about()")
            whole_s = len(COLOURS) * film.seconds
            assert (about["width"], about["height"]) == (film.width, film.height)
            assert abs(about["duration"] - whole_s) < 0.03
            # to and fro: into the middle of an image's time, just after its start, just before its end
            places = [(n, n + share) for share in (0.5, 0.1, 0.9) for n in (4, 0, 5, 2, 1, 3)]
            for number, place in places:
                found = await page.value(f"at({place * film.seconds})")
                apart = max(abs(a - b) for a, b in zip(found["pixel"], COLOURS[number]))
                assert apart <= 20, (place, found, COLOURS[number])
            played = await page.value("play()")
            assert abs(played["time"] - whole_s) < 0.05
            assert (played["corrupted"], played["log"]) == (0, [])
            assert played["frames"] > 0

    asyncio.run(main())


@pytest.mark.parametrize("name", BOTH)
def test_a_browser_shows_each_picture_of_a_gif(tmp_path: Path, name: str) -> None:
    opened, film = browser(name), Film(size="640x360", format="gif", seconds=0.8, fps=10)
    video = colours(tmp_path, film)

    async def main() -> None:
        home = tmp_path / "home"
        home.mkdir()
        seen: set[int] = set()
        async with asyncio.timeout(LIMIT_S), served(video) as url, opened(url, home) as page:
            about = await page.value("about()")
            assert (about["width"], about["height"]) == (640, 360)
            while len(seen) < len(COLOURS):  # the GIF begins again and again
                shot = Image.open(io.BytesIO(await page.screenshot())).convert("RGB")
                found = shot.getpixel((int(320 * about["scale"]), int(180 * about["scale"])))
                assert isinstance(found, tuple)
                apart = [max(abs(a - b) for a, b in zip(found, each)) for each in COLOURS]
                assert min(apart) <= 20, found
                seen.add(apart.index(min(apart)))

    asyncio.run(main())


@pytest.mark.parametrize("name", BOTH)
def test_the_examples_pictures_show_as_they_are(tmp_path: Path, name: str) -> None:
    """With KON_SCREENSHOTS=FOLDER it leaves there what is seen: docs/pictures/animoto-*.png."""
    opened, film = browser(name), Film()
    pictures = [demo.picture(number) for number in (12, 8, 16)]
    decoder = Decoder(film)
    video = filmed(tmp_path, film, [decoder.decode(each, read_header(each)) for each in pictures])

    async def main() -> None:
        home = tmp_path / "home"
        home.mkdir()
        async with asyncio.timeout(LIMIT_S), served(video) as url, opened(url, home) as page:
            found = await page.value("still(1.5)")
            shot = await page.screenshot()
        assert int(found["time"]) == 1
        shown = np.asarray(found["pixels"], np.float64).reshape(36, 64, 4)[..., :3]
        apart = [np.abs(shown - thumbnail(each)).mean() for each in pictures]
        assert apart[1] < 6, apart
        assert min(apart[0], apart[2]) > 12, "the pictures are too much alike to tell them apart"
        if (folder := os.environ.get("KON_SCREENSHOTS")) is not None:
            cut = Image.open(io.BytesIO(shot)).convert("RGB").crop(found["box"])
            cut.quantize(192).save(Path(folder) / f"animoto-{name}.png", optimize=True)

    asyncio.run(main())


def thumbnail(data: bytes) -> npt.NDArray[np.float64]:
    """The letterboxed picture, as small as the page's."""
    image = ImageOps.pad(Image.open(io.BytesIO(data)).convert("RGB"), (1920, 1080))
    return np.asarray(image.resize((64, 36), Image.Resampling.BOX), np.float64)
