"""The page in a real browser: it moves as a run does, comes back, fits, needs neither eyes nor mouse."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from kon.events import Event
from kon.live import watching
from kon.live.server import LiveServer
from kon.task import State
from tests.browsers import CHROMIUM, FIREFOX, ChromiumTab, Tab, chromium, firefox
from tests.live.given import HOSTILE, LIMIT_S, Moving, served

in_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no chromium on this machine; `make browser-tools` installs it, as root"
)

READY = "!!document.querySelector('#run:not([hidden])')"


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "LOOK_S", 0.1)
    monkeypatch.setattr(watching, "LIST_S", 0.1)


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
        where = f"document.getElementById({json.dumps(id)}).textContent"
        await self.until(f"{where}.includes({json.dumps(text)})")

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


@in_chromium
def test_it_shows_a_run_and_moves_with_it(tmp_path: Path) -> None:
    async def use(page: Page, records: Moving, live: LiveServer) -> None:
        assert await page.text("name") == "r"
        assert await page.text("connection") == "live"
        assert await page.text("share") == "25%"
        assert await page.tab.value("document.title") == "25% r · kon"
        await page.shows("figures", "1 of 2")
        await page.shows("workers-table", "task 7: ")
        assert await page.tab.value("document.querySelectorAll('#chart polyline').length") == 1
        widths = "[...document.querySelectorAll('#progress span')].map(e => e.getBoundingClientRect().width)"
        before = await page.tab.value(widths)
        records.end_tasks(range(5, 15))
        await page.shows("legend", "13 done")
        await page.until(f"{widths}[0] > 2 * {before[0]}")
        await page.shows("share", "75%")
        records.end_tasks(range(15, 20))
        records.folder.write_summary({"done": 18})
        await page.shows("state", "finished")
        await page.shows("share", "100%")

    on_a_page(tmp_path, use)


@in_chromium
def test_what_a_task_prints_is_text(tmp_path: Path) -> None:
    async def use(page: Page, records: Moving, live: LiveServer) -> None:
        await page.until("document.querySelectorAll('#failures-table tbody tr').length == 2")
        assert HOSTILE in await page.text("failures-table")
        await page.tab.value("document.querySelectorAll('details').forEach(e => { e.open = true; })")
        assert await page.tab.value("document.querySelectorAll('#main img, #main script').length") == 0
        assert await page.tab.value("document.title") == "25% r · kon"
        # and were some text of it not escaped one day, the browser would not run it either
        ran = await page.tab.value(
            "new Promise(done => { const e = document.createElement('script'); e.textContent = 'ran = 1';"
            "document.body.append(e); setTimeout(() => done(window.ran === 1), 50); })"
        )
        assert ran is False

    on_a_page(tmp_path, use)


@in_chromium
def test_it_survives_a_reload_and_finds_the_server_again(tmp_path: Path) -> None:
    async def main() -> None:
        records = Moving(tmp_path / "runs", 20, slots=2)
        records.begin()
        records.end_tasks(range(3))
        async with AsyncExitStack() as stack:
            async with served(tmp_path / "runs", records, farewell="Over.") as live:
                port = int(live.link.rstrip("/").rpartition(":")[2])
                page = await stack.enter_async_context(opened(tmp_path, live))
                await page.shows("legend", "3 done")
                await page.tab.value("window.old = 1")
                await page.ask("Page.reload")
                await page.until("window.old === undefined && !!document.getElementById('legend')")
                await page.shows("legend", "3 done")
                records.end_tasks(range(3, 6))
                await page.shows("legend", "6 done")
            await page.shows("ended", "Over. This is how it stood.")
            assert await page.text("connection") == "ended"
            await page.shows("legend", "6 done")
            records.end_tasks(range(6, 9))
            async with served(tmp_path / "runs", records, port=port):
                await page.shows("connection", "live")
                await page.shows("legend", "9 done")
                assert await page.tab.value("document.getElementById('ended').hidden")

    asyncio.run(asyncio.wait_for(main(), LIMIT_S))


@in_chromium
def test_it_says_that_the_server_has_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def without_a_word(self: watching.Watching, data: dict[str, str]) -> None:
        return

    monkeypatch.setattr(watching.Watching, "last_look", without_a_word)  # as if it were killed

    async def main() -> None:
        records = Moving(tmp_path / "runs", 20, slots=2)
        records.begin()
        async with AsyncExitStack() as stack:
            async with served(tmp_path / "runs", records) as live:
                port = int(live.link.rstrip("/").rpartition(":")[2])
                page = await stack.enter_async_context(opened(tmp_path, live))
                records.end_tasks(range(3))
                await page.shows("legend", "3 done")
            await page.shows("connection", "server gone")
            await page.shows("legend", "3 done")
            records.end_tasks(range(3, 5))
            async with served(tmp_path / "runs", records, port=port):
                await page.shows("connection", "live")
                await page.shows("legend", "5 done")

    asyncio.run(asyncio.wait_for(main(), LIMIT_S))


@pytest.mark.skipif(
    FIREFOX is None, reason="there is no firefox on this machine; `make browser-tools` installs it, as root"
)
def test_it_does_the_same_in_firefox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose streams of events take up a lost server in another way."""

    async def without_a_word(self: watching.Watching, data: dict[str, str]) -> None:
        return

    monkeypatch.setattr(watching.Watching, "last_look", without_a_word)

    async def main() -> None:
        records = Moving(tmp_path / "runs", 20, slots=2)
        records.begin()
        records.end_tasks(range(3))
        async with AsyncExitStack() as stack:
            async with served(tmp_path / "runs", records) as live:
                port = int(live.link.rstrip("/").rpartition(":")[2])
                home = tmp_path / "home"
                home.mkdir()
                page = Page(await stack.enter_async_context(firefox(live.link, home)))
                await page.shows("legend", "3 done")
                records.end_tasks(range(3, 6))
                await page.shows("legend", "6 done")
            await page.shows("connection", "server gone")
            records.end_tasks(range(6, 9))
            async with served(tmp_path / "runs", records, port=port):
                await page.shows("connection", "live")
                await page.shows("legend", "9 done")

    asyncio.run(asyncio.wait_for(main(), LIMIT_S))


@in_chromium
@pytest.mark.parametrize("width", [320, 400, 1200])
def test_it_fits(tmp_path: Path, width: int) -> None:
    async def use(page: Page, records: Moving, live: LiveServer) -> None:
        await page.wide(width)
        await page.tab.value("document.querySelectorAll('details').forEach(e => { e.open = true; })")
        assert await page.tab.value("document.documentElement.scrollWidth") <= width
        out = (
            "[...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll, .unseen, .skip') && "
            f"e.getBoundingClientRect().right > {width} + 1).map(e => e.outerHTML.slice(0, 80))"
        )
        assert await page.tab.value(out) == []

    on_a_page(tmp_path, use)


@in_chromium
def test_the_keyboard_reaches_everything(tmp_path: Path) -> None:
    async def use(page: Page, records: Moving, live: LiveServer) -> None:
        wanted = set(
            await page.tab.value(
                "[...document.querySelectorAll('a, button, summary, [tabindex=\"0\"]')]"
                ".filter(e => e.checkVisibility()).map((e, n) => (e.id = e.id || `reach-${n}`))"
            )
        )
        assert len(wanted) >= 15
        reached = []
        for _ in range(len(wanted) + 5):
            await page.press("Tab")
            reached.append(await page.tab.value("document.activeElement.id"))
            outlined = await page.tab.value(
                "document.activeElement === document.body || getComputedStyle(document.activeElement)"
                ".outlineStyle !== 'none'"
            )
            assert outlined, f"no focus is seen on {reached[-1]}"
        assert wanted <= set(reached), wanted - set(reached)
        places = [reached.index(each) for each in reached if each in wanted]
        assert places[: len(wanted)] == sorted(places[: len(wanted)])

    on_a_page(tmp_path, use)


@in_chromium
def test_tables_are_sorted_and_opened_by_keyboard_and_stay_so(tmp_path: Path) -> None:
    tasks = "[...document.querySelectorAll('#failures-table tbody tr')].map(e => e.cells[0].textContent)"
    header = "document.querySelector('#failures-table th')"

    async def use(page: Page, records: Moving, live: LiveServer) -> None:
        assert await page.tab.value(tasks) == ["4", "3"]
        await page.tab.value(f"{header}.firstChild.focus()")
        await page.press("Enter")
        assert await page.tab.value(tasks) == ["3", "4"]
        assert await page.tab.value(f"{header}.getAttribute('aria-sort')") == "ascending"
        await page.tab.value("document.querySelector('#failures-table summary').focus()")
        await page.press("Enter")
        assert await page.tab.value("document.querySelector('#failures-table details').open")
        await page.tab.value(
            "getSelection().selectAllChildren(document.querySelector('#failures-table pre'))"
        )
        records.end_tasks(range(9, 10), State.FAILED, error="exit 5", result={"stderr": "worse"})
        records.end_tasks(range(2, 3), State.FAILED, error="exit 6", result={"stderr": "worst"})
        await page.until(f"{tasks}.length == 4")
        assert await page.tab.value(tasks) == ["2", "3", "4", "9"]
        focused = "document.activeElement.closest('tr').cells[0].textContent"
        assert await page.tab.value(focused) == "3", "the focus stays where it was"
        assert await page.tab.value("document.activeElement.parentElement.open")
        assert await page.tab.value("getSelection().toString()"), "what was selected still is"
        await page.tab.value(f"{header}.firstChild.focus()")
        await page.press("Enter")
        assert await page.tab.value(tasks) == ["9", "4", "3", "2"]

    on_a_page(tmp_path, use)


@in_chromium
def test_the_focus_goes_with_its_row(tmp_path: Path) -> None:
    tasks = "[...document.querySelectorAll('#failures-table tbody tr')].map(e => e.cells[0].textContent)"

    async def use(page: Page, records: Moving, live: LiveServer) -> None:
        await page.tab.value("[...document.querySelectorAll('#failures-table summary')].at(-1).focus()")
        records.end_tasks(range(3, 4), State.FAILED, error="exit 9", result={"stderr": "once more"})
        await page.until(f"{tasks}[0] == '3'")
        assert await page.tab.value("document.activeElement.textContent") == "exit 9"
        await page.until("document.querySelectorAll('#failures-table tbody tr').length == 2")
        records.end_tasks(range(4, 5), State.FAILED, error="exit 8", result={"stderr": "again"})
        await page.until(f"{tasks}[0] == '4'")
        assert await page.tab.value("document.activeElement.textContent") == "exit 9"

    on_a_page(tmp_path, use)


@in_chromium
def test_the_accessibility_tree_has_names(tmp_path: Path) -> None:
    async def use(page: Page, records: Moving, live: LiveServer) -> None:
        await page.ask("Accessibility.enable")
        nodes = (await page.ask("Accessibility.getFullAXTree"))["nodes"]
        found: dict[str, list[str]] = {}
        for node in nodes:
            if not node["ignored"]:
                name = node.get("name", {}).get("value", "")
                found.setdefault(node["role"]["value"], []).append(name)
        for role in ("banner", "main", "contentinfo", "progressbar", "heading", "table", "columnheader"):
            assert found.get(role), f"there is no {role}: {sorted(found)}"
        for role in ("progressbar", "table", "region", "button", "link", "columnheader", "image", "heading"):
            assert all(found.get(role, [])), f"a {role} has no name: {found.get(role)}"
        assert found["progressbar"] == ["Progress"]
        assert {"Failures", "Workers"} <= set(found["table"])
        bar = "document.getElementById('progress')"
        assert await page.tab.value(f"{bar}.getAttribute('aria-valuenow')") == "25"
        assert "5 of 20 tasks" in await page.tab.value(f"{bar}.getAttribute('aria-valuetext')")
        unscoped = "document.querySelectorAll('th:not([scope])').length"
        assert await page.tab.value(unscoped) == 0
        assert await page.tab.value("document.documentElement.lang") == "en"

    on_a_page(tmp_path, use)


@in_chromium
def test_a_screen_reader_is_told_now_and_then(tmp_path: Path) -> None:
    said = "document.getElementById('announcement')"

    async def use(page: Page, records: Moving, live: LiveServer) -> None:
        assert await page.tab.value(f"{said}.getAttribute('aria-live')") == "polite"
        await page.tab.value(
            f"window.told = []; new MutationObserver(() => told.push({said}.textContent))"
            f".observe({said}, {{childList: true}})"
        )
        for index in range(5, 12):
            records.end_tasks(range(index, index + 1))
            await page.shows("legend", f"{index - 1} done")
        assert await page.tab.value("told") == [], "numbers that move are not read out one by one"
        records.end_tasks(range(12, 20))
        records.folder.write_summary({"done": 18})
        await page.until("told.length == 1")
        assert await page.tab.value("told[0]") == "r is finished: 100%, 2 not done."

    on_a_page(tmp_path, use)


CONTRASTS = """(() => {
  const parse = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = (e) => {
    for (; e; e = e.parentElement) {
      const colour = parse(getComputedStyle(e).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const bad = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let seen = 0;
  while (walker.nextNode()) {
    const e = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !e.checkVisibility() || e.closest('.unseen')) continue;
    const style = getComputedStyle(e);
    const ink = parse(e.namespaceURI.endsWith('svg') ? style.fill : style.color);
    const [one, two] = [light(ink), light(behind(e))].sort((a, b) => b - a);
    seen += 1;
    const contrast = (one + 0.05) / (two + 0.05);
    if (contrast < 4.5) bad.push([e.textContent.slice(0, 40), style.color, contrast]);
  }
  return {seen, bad};
})()"""


@in_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_can_be_read(tmp_path: Path, scheme: str) -> None:
    """WCAG 2.1, level AA: 4.5 to 1."""

    async def use(page: Page, records: Moving, live: LiveServer) -> None:
        await page.media(prefers_color_scheme=scheme)
        found = await page.tab.value(CONTRASTS)
        assert found["bad"] == []
        assert found["seen"] > 50
        paper = await page.tab.value("getComputedStyle(document.body).backgroundColor")
        assert (paper == "rgb(255, 255, 255)") == (scheme == "light")

    on_a_page(tmp_path, use)


@in_chromium
def test_nothing_glides_where_that_is_not_wanted(tmp_path: Path) -> None:
    async def use(page: Page, records: Moving, live: LiveServer) -> None:
        glides = "getComputedStyle(document.querySelector('#progress span')).transitionDuration"
        assert await page.tab.value(glides) == "0.4s"
        await page.media(prefers_reduced_motion="reduce")
        assert await page.tab.value(glides) == "0s"

    on_a_page(tmp_path, use)


@in_chromium
def test_one_of_several_runs_is_chosen(tmp_path: Path) -> None:
    async def main() -> None:
        one, two = Moving(tmp_path / "runs", 10), Moving(tmp_path / "later", 30)
        one.begin()
        one.end_tasks(range(10))
        row = {"tasks": 10, "done": 10, "failed": 0, "dead": 0, "lost": 0, "tasks_per_s": 5.0, "began_s": 1.0}
        one.folder.write_summary(row)
        async with served(tmp_path / "runs", one) as live, opened(tmp_path, live) as page:
            await page.shows("legend", "10 done")
            assert await page.tab.value("document.getElementById('runs').hidden"), "there is but one"
            two.begin()
            two.folder.path.rename(tmp_path / "runs" / "s")
            await page.shows("about", "30 x sleep")
            await page.until("document.querySelector('tr[aria-current=true] a').textContent == 's'")
            await page.tab.value(
                "[...document.querySelectorAll('#runs a')].find(e => e.textContent == 'r').click()"
            )
            await page.shows("about", "10 x sleep")
            assert await page.tab.value("location.search") == "?run=r"
            await page.ask("Page.reload")
            await page.until("!!document.querySelector('#about')")
            await page.shows("about", "10 x sleep")
            await page.tab.value("history.back()")
            await page.shows("about", "30 x sleep")

    asyncio.run(asyncio.wait_for(main(), LIMIT_S))


@in_chromium
def test_what_the_server_refuses_is_said(tmp_path: Path) -> None:
    async def main() -> None:
        async with served(tmp_path) as live:
            home = tmp_path / "home"
            home.mkdir()
            async with chromium(f"{live.link}?run=<b>nobody", home) as tab:
                page = Page(tab)
                await page.shows("ended", "There is no run <b>nobody here.")
                assert await page.text("connection") == "refused, trying again"
                Moving(tmp_path / "x", 10).folder.path.rename(tmp_path / "<b>nobody")
                await page.shows("about", "10 x sleep")
                assert await tab.value("document.getElementById('ended').hidden")

    asyncio.run(asyncio.wait_for(main(), LIMIT_S))


@in_chromium
def test_a_link_with_a_token_loses_it(tmp_path: Path) -> None:
    async def main() -> None:
        records = Moving(tmp_path / "runs", 10)
        records.begin()
        records.end_tasks(range(4))
        async with served(tmp_path / "runs", records, host="0.0.0.0") as live:
            link = live.link
            here = f"http://127.0.0.1:{link.rpartition(':')[2]}"
            home = tmp_path / "home"
            home.mkdir()
            async with chromium(here, home, READY) as tab:
                page = Page(tab)
                await page.shows("legend", "4 done")
                assert await tab.value("location.href") == here.partition("?")[0]
                assert await tab.value("document.cookie") == "", "scripts can't read it"
                assert await tab.value("document.referrer") == ""

    asyncio.run(asyncio.wait_for(main(), LIMIT_S))
