"""Real browsers without a head, for tests: Chromium by its own protocol, Firefox by WebDriver BiDi."""

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
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FIREFOX = next(filter(None, map(shutil.which, ("firefox-esr", "firefox"))), None)

LOADED = "document.readyState == 'complete'"
"""What is true, in JavaScript, of a page that has loaded."""

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


_BETWEEN_PAGES = {
    "Cannot find default execution context",
    "Execution context was destroyed.",
    "Inspected target navigated or closed",
    "Promise was collected",
}
"""What Chromium answers while one page has gone and the next is not there yet."""


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
        said = await self.reply(method, **params)
        assert "error" not in said, said
        return said["result"]

    async def reply(self, method: str, **params: Any) -> dict[str, Any]:
        """The result, or the error."""
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": params})
        while True:
            said: dict[str, Any] = json.loads((await self._socket.receive()).data)
            if said.get("id") == number:
                return said


class ChromiumTab(Tab):
    def __init__(self, remote: Remote) -> None:
        self._remote = remote

    async def ask(self, method: str, **params: Any) -> Any:
        """Any method of Chromium's protocol."""
        return await self._remote.ask(method, **params)

    async def value(self, expression: str) -> Any:
        asked = {"expression": expression, "awaitPromise": True, "returnByValue": True}
        while True:
            reply = await self._remote.reply("Runtime.evaluate", **asked)
            if reply.get("error", {}).get("message") not in _BETWEEN_PAGES:
                break
            await asyncio.sleep(0.05)
        assert "error" not in reply, reply
        said = reply["result"]
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
async def chromium(url: str, home: Path, ready: str = LOADED) -> AsyncIterator[ChromiumTab]:
    """A page in Chromium, once that JavaScript is true of it. home: an empty folder of its own."""
    assert CHROMIUM is not None
    async with started([CHROMIUM, *FLAGS, f"--user-data-dir={home}", "about:blank"], home):
        port = (await written(home / "DevToolsActivePort", "\n")).splitlines()[0]
        async with aiohttp.ClientSession() as session:
            async with session.put(f"http://127.0.0.1:{port}/json/new?{url}") as reply:
                target = json.loads(await reply.text())
            async with session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                tab = ChromiumTab(Remote(socket))
                while not await tab.value(ready):  # noqa: ASYNC110 - a look tells
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
