"""The page in a real browser: it moves as a run does, and comes back."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from kon.report.live import watching
from kon.report.live.server import LiveServer
from tests.browsers import FIREFOX, chromium, firefox
from tests.report.live.given import HOSTILE, LIMIT_S, Moving, served
from tests.report.live.page import READY, Page, in_chromium, on_a_page, opened


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


@pytest.mark.slow
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
