"""The videos in a real browser: they play, they seek, and the right picture shows."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import shutil
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from kon.animoto.decode import Decoder
from kon.animoto.film import Film
from kon.animoto.header import read_header
from tests.animoto.given import encoded, plain
from tests.animoto.test_encode import filmed, tone
from tests.animoto.test_job import COLOURS

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FIREFOX = next(filter(None, map(shutil.which, ("firefox-esr", "firefox"))), None)
LIMIT_S = 100.0

FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--autoplay-policy=no-user-gesture-required",
    "--remote-debugging-port=0",
    "--remote-allow-origins=*",
]

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


class Tab(ABC):
    """A page of a browser."""

    @abstractmethod
    async def value(self, expression: str) -> Any:
        """What a JavaScript expression, or the promise that it is, comes to."""

    @abstractmethod
    async def screenshot(self) -> bytes:
        """As PNG."""


class Remote:
    """Requests and their answers over a web socket, in Chromium's protocol and in WebDriver BiDi."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)

    async def ask(self, method: str, **params: Any) -> Any:
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": params})
        while True:
            said = json.loads((await self._socket.receive()).data)
            if said.get("id") == number:
                assert "error" not in said, said
                return said["result"]


class ChromiumTab(Tab):
    def __init__(self, remote: Remote) -> None:
        self._remote = remote

    async def value(self, expression: str) -> Any:
        said = await self._remote.ask(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in said, said["exceptionDetails"]
        return said["result"].get("value")

    async def screenshot(self) -> bytes:
        return base64.b64decode((await self._remote.ask("Page.captureScreenshot"))["data"])


class FirefoxTab(Tab):
    def __init__(self, remote: Remote, context: str) -> None:
        self._remote = remote
        self._context = context

    async def value(self, expression: str) -> Any:
        said = await self._remote.ask(
            "script.evaluate",
            expression=f"(async () => JSON.stringify(await ({expression})))()",
            awaitPromise=True,
            target={"context": self._context},
        )
        assert said["type"] == "success", said
        return json.loads(said["result"]["value"])

    async def screenshot(self) -> bytes:
        said = await self._remote.ask("browsingContext.captureScreenshot", context=self._context)
        return base64.b64decode(said["data"])


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


@asynccontextmanager
async def chromium(url: str, home: Path) -> AsyncIterator[Tab]:
    assert CHROMIUM is not None
    async with started([CHROMIUM, *FLAGS, f"--user-data-dir={home}", "about:blank"], home):
        port = (await written(home / "DevToolsActivePort", "\n")).splitlines()[0]
        async with aiohttp.ClientSession() as session:
            async with session.put(f"http://127.0.0.1:{port}/json/new?{url}") as reply:
                target = json.loads(await reply.text())
            async with session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                tab = ChromiumTab(Remote(socket))
                while not await tab.value("typeof about == 'function'"):  # noqa: ASYNC110 - a look tells
                    await asyncio.sleep(0.05)
                yield tab


@asynccontextmanager
async def firefox(url: str, home: Path) -> AsyncIterator[Tab]:
    assert FIREFOX is not None
    (home / "user.js").write_text(
        'user_pref("media.autoplay.default", 0);\nuser_pref("app.update.enabled", false);\n'
        'user_pref("datareporting.policy.dataSubmissionEnabled", false);\n'
    )
    argv = [FIREFOX, "--headless", "--no-remote", "--profile", str(home), "--remote-debugging-port", "0"]
    async with started([*argv, "about:blank"], home):
        said = json.loads(await written(home / "WebDriverBiDiServer.json", "}"))
        where = f"ws://{said['ws_host']}:{said['ws_port']}/session"
        async with aiohttp.ClientSession() as session, session.ws_connect(where, max_msg_size=0) as socket:
            remote = Remote(socket)
            await remote.ask("session.new", capabilities={})
            tree = await remote.ask("browsingContext.getTree")
            context = tree["contexts"][0]["context"]
            await remote.ask("browsingContext.navigate", context=context, url=url, wait="complete")
            yield FirefoxTab(remote, context)


@asynccontextmanager
async def started(argv: list[str], home: Path) -> AsyncIterator[None]:
    """A browser, in a process group of its own, which ends as a whole."""
    process = subprocess.Popen(
        argv,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "HOME": str(home)},
        start_new_session=True,
    )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


async def written(file: Path, end: str) -> str:
    """What a browser writes when it can be spoken to."""
    while not (file.exists() and end in file.read_text()):  # noqa: ASYNC110 - nothing but a look tells
        await asyncio.sleep(0.05)
    return file.read_text()


BROWSERS: dict[str, tuple[str | None, Callable[[str, Path], AbstractAsyncContextManager[Tab]]]] = {
    "chromium": (CHROMIUM, chromium),
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
