"""The page in a real browser fits, and needs neither eyes nor mouse."""

from __future__ import annotations

from pathlib import Path

import pytest

from kon.core.task import State
from kon.report.live.server import LiveServer
from tests.report.live.given import Moving
from tests.report.live.page import Page, in_chromium, on_a_page


@in_chromium
@pytest.mark.parametrize(
    "width", [320, *(pytest.param(width, marks=pytest.mark.slow) for width in (400, 1200))]
)
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
