"""The site of the pages builds without a warning; it is whole, and fetches nothing from elsewhere."""

from __future__ import annotations

import html
import os.path
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import pytest

from docs.site.hooks import MADE, navigation, slug
from kon.cli.commands import SECTIONS
from tests.docs.blocks import PROJECT

DOCS: Final = PROJECT / "docs"
FETCHED: Final = {("img", "src"), ("script", "src"), ("link", "href"), ("iframe", "src"), ("source", "src")}
"""Elements and attributes by which a browser fetches something without being asked."""

pytestmark = pytest.mark.long


class Links(HTMLParser):
    """What a page links to, what it fetches, and which anchors it has."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.anchors: set[str] = {""}
        self.feed(file.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value is None:
                continue
            if name in ("id", "name"):
                self.anchors.add(value)
            if (tag, name) in FETCHED:
                self.fetched.append(value)
            elif (tag, name) == ("a", "href"):
                self.links.append(value)


def build(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "mkdocs",
            "build",
            "-f",
            "docs/site/mkdocs.yml",
            "--site-dir",
            folder,
            *options,
        ],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    ended = build(folder, "--strict")
    assert ended.returncode == 0, ended.stderr
    assert "WARNING" not in ended.stderr, ended.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Links]:
    return {file: Links(file) for file in site.rglob("*.html")}


KINDS: Final = ("Tutorials", "How-to", "Reference", "Explanation")
"""The kinds of page, as docs/index.md has them as headings."""


def test_every_page_is_of_one_kind() -> None:
    """A page that is in no list of docs/index.md has no place in the navigation: give it a line there."""
    listed = [
        page
        for section in navigation((DOCS / "index.md").read_text())
        if next(iter(section)) in KINDS
        for page in _pages(section)
    ]
    there = {page.name for page in DOCS.glob("*.md")} - {"index.md"} | set(MADE)
    assert sorted(listed) == sorted(there)


def _pages(section: dict[str, object]) -> list[str]:
    (inside,) = section.values()
    assert isinstance(inside, str | list)
    return [inside] if isinstance(inside, str) else [page for each in inside for page in each.values()]


def test_the_page_of_commands_has_every_command_and_the_options_of_all(site: Path) -> None:
    text = html.unescape(re.sub(r"<[^>]+>", "", (site / "commands.html").read_text()))
    assert len(SECTIONS) > 1
    for section in SECTIONS.values():
        assert [name for name in section if f"kon {name}" not in text] == []
    assert "Many commands have these options:" in text
    assert "--json" in text


def test_a_bar_in_a_table_is_no_backslash(site: Path) -> None:
    """Copied from there, `find . \\| kon map ...` is no pipe."""
    tables = re.findall(r"(?s)<td.*?</td>", "".join(page.read_text() for page in sorted(site.glob("*.html"))))
    assert [cell for cell in tables if "\\|" in cell] == []
    assert any("<code>find . -name '*.log' | kon map" in html.unescape(cell) for cell in tables)


def test_links_and_anchors_lead_somewhere(pages: dict[Path, Links]) -> None:
    assert len(pages) > 25
    broken = []
    for file, page in pages.items():
        for link in (*page.links, *page.fetched):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or file.name == "404.html":
                continue
            to = Path(os.path.normpath(file.parent / unquote(parts.path))) if parts.path else file
            anchors = pages[to].anchors if to in pages else {""}
            if not to.is_file() or unquote(parts.fragment) not in anchors:
                broken.append(f"{file.name}: {link}")
    assert broken == []


def test_nothing_is_fetched_from_elsewhere(site: Path, pages: dict[Path, Links]) -> None:
    fetched = {address for page in pages.values() for address in page.fetched}
    assert any(address.endswith(".css") for address in fetched)
    for style in site.rglob("*.css"):
        fetched.update(re.findall(r"url\(['\"]?([^)'\"]+)", style.read_text()))
        assert "@import" not in style.read_text()
    assert [each for each in fetched if re.match(r"(https?:)?//", each)] == []


def test_files_of_the_project_that_pages_link_to_are_part_of_it(site: Path) -> None:
    assert "Run a command for each file" in (site / "project" / "index.html").read_text()
    assert "gzip -dc" in (site / "project" / "workloads" / "quickstart.yml.html").read_text()


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [
        ("kind: shell", "kind-shell"),
        ("What each promises", "what-each-promises"),
        ("`kon top` / live", "kon-top--live"),
        ("read_then_write(record=after)", "read_then_writerecordafter"),
    ],
)
def test_anchors_are_those_of_github(heading: str, anchor: str) -> None:
    assert slug(heading) == anchor
