"""What tests of the page in a browser share: the page, as they speak of it, and a run on it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from kon.core.task import State
from kon.engine.records.events import Event
from kon.report.live.server import LiveServer
from tests.browsers import CHROMIUM, ChromiumTab, Tab, chromium
from tests.report.live.given import HOSTILE, LIMIT_S, Moving, served

in_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no chromium on this machine; `make browser-tools` installs it, as root"
)

READY = "!!document.querySelector('#run:not([hidden])')"


class Page:
    """The page, as a test speaks of it."""

    def __init__(self, tab: Tab) -> None:
        self.tab = tab

    async def ask(self, method: str, **params: Any) -> Any:
        """Of Chromium alone."""
        assert isinstance(self.tab, ChromiumTab)
        return await self.tab.ask(method, **params)

    async def until(self, expression: str) -> Any:
        """Return once this JavaScript is true."""
        while not (value := await self.tab.value(expression)):  # noqa: ASYNC110 - a look tells
            await asyncio.sleep(0.05)
        return value

    async def text(self, id: str) -> str:
        return str(await self.tab.value(f"document.getElementById({json.dumps(id)}).textContent"))

    async def shows(self, id: str, text: str) -> None:
        where = f"document.getElementById({json.dumps(id)})?.textContent"  # nothing yet, as it loads
        await self.until(f"{where}?.includes({json.dumps(text)})")

    async def wide(self, width: int, height: int = 900) -> None:
        await self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    async def media(self, **features: str) -> None:
        listed = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        await self.ask("Emulation.setEmulatedMedia", features=listed)

    async def press(self, key: str, modifiers: int = 0) -> None:
        code = {"Tab": 9, "Enter": 13, "ArrowRight": 39}[key]
        about = {"key": key, "code": key, "windowsVirtualKeyCode": code, "modifiers": modifiers}
        text = {"text": "\r"} if key == "Enter" else {}
        await self.ask("Input.dispatchKeyEvent", type="keyDown", **about, **text)
        await self.ask("Input.dispatchKeyEvent", type="keyUp", **about)


Use = Callable[[Page, Moving, LiveServer], Awaitable[None]]


@asynccontextmanager
async def opened(tmp_path: Path, live: LiveServer, ready: str = READY) -> AsyncIterator[Page]:
    home = tmp_path / "home"
    home.mkdir()
    async with chromium(live.link, home, ready) as tab:
        yield Page(tab)


def on_a_page(tmp_path: Path, use: Use, tasks: int = 20) -> None:
    """With a run that has begun, and failed twice."""

    async def main() -> None:
        records = Moving(tmp_path / "runs", tasks, slots=2)
        records.begin()
        records.end_tasks(range(3))
        records.end_tasks(range(3, 4), State.FAILED, error=HOSTILE, result={"stderr": f"no disk\n{HOSTILE}"})
        records.end_tasks(
            range(4, 5), State.FAILED, error="exit 4", result={"stdout": "read", "stderr": "bad"}
        )
        records.life("w1.aaaaaa").tasks(Event.START, [7])
        async with served(tmp_path / "runs", records) as live, opened(tmp_path, live) as page:
            await page.shows("legend", "3 done")
            await page.until("document.querySelectorAll('#failures-table tbody tr').length == 2")
            await use(page, records, live)

    asyncio.run(asyncio.wait_for(main(), LIMIT_S))
