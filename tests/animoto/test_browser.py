"""The videos in a real browser: they play, they seek, and the right picture shows."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from kon.animoto.decode import Decoder
from kon.animoto.film import Film
from kon.pictures.header import read_header
from tests.animoto.given import encoded, plain
from tests.animoto.test_encode import filmed, tone
from tests.animoto.test_job import COLOURS
from tests.browsers import CHROMIUM, FIREFOX, Tab, chromium, firefox

LIMIT_S = 100.0

PAGE = """<!DOCTYPE html><title>video</title><video id=v muted src="/video.mp4" width=320></video><script>
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
async function about() {
  await ready;
  return {duration: v.duration, width: v.videoWidth, height: v.videoHeight};
}
</script>"""


@asynccontextmanager
async def served(video: Path) -> AsyncIterator[str]:
    """A page with the video, from a server on this machine."""

    async def page(request: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    async def file(request: web.Request) -> web.FileResponse:
        return web.FileResponse(video)

    app = web.Application()
    app.router.add_get("/", page)
    app.router.add_get("/video.mp4", file)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


def chromium_with_the_page(url: str, home: Path) -> AbstractAsyncContextManager[Tab]:
    return chromium(url, home, "typeof about == 'function'")


BROWSERS: dict[str, tuple[str | None, Callable[[str, Path], AbstractAsyncContextManager[Tab]]]] = {
    "chromium": (CHROMIUM, chromium_with_the_page),
    "firefox": (FIREFOX, firefox),
}


def colours(folder: Path, film: Film, sound: bool = False) -> Path:
    decoder = Decoder(film)
    pictures = [encoded(plain("rgb({},{},{})".format(*rgb), 320, 180)) for rgb in COLOURS]
    planes = [decoder.decode(data, read_header(data)) for data in pictures]
    return filmed(folder, film, planes, tone(2.0) if sound else None)


@pytest.mark.parametrize("name", BROWSERS)
@pytest.mark.parametrize(
    ("film", "sound"),
    [
        (Film(), False),
        (Film(width=640, height=360, image_s=0.4), True),
        (Film(width=640, height=360, image_s=2.0), False),
        (Film(width=640, height=360, repeat="encode"), False),
    ],
    ids=["default", "sound", "two seconds each", "encode"],
)
def test_a_browser_plays_and_seeks(tmp_path: Path, name: str, film: Film, sound: bool) -> None:
    program, opened = BROWSERS[name]
    if program is None:
        pytest.skip(f"there is no {name} on this machine")
    video = colours(tmp_path, film, sound)

    async def main() -> None:
        home = tmp_path / "home"
        home.mkdir()
        async with asyncio.timeout(LIMIT_S), served(video) as url, opened(url, home) as page:
            about = await page.value("about()")
            whole_s = len(COLOURS) * film.image_s
            assert (about["width"], about["height"]) == (film.width, film.height)
            assert abs(about["duration"] - whole_s) < 0.03
            # to and fro: into the middle of an image's time, just after its start, just before its end
            places = [(n, n + share) for share in (0.5, 0.1, 0.9) for n in (4, 0, 5, 2, 1, 3)]
            for number, place in places:
                found = await page.value(f"at({place * film.image_s})")
                apart = max(abs(a - b) for a, b in zip(found["pixel"], COLOURS[number]))
                assert apart <= 20, (place, found, COLOURS[number])
            if (shots := os.environ.get("KON_SCREENSHOTS")) is not None:
                file = Path(shots) / f"{name}-{film.way}-{film.image_s:g}.png"
                file.write_bytes(await page.screenshot())
            played = await page.value("play()")
            assert abs(played["time"] - whole_s) < 0.05
            assert (played["corrupted"], played["log"]) == (0, [])
            assert played["frames"] > 0

    asyncio.run(main())
