"""What the site needs beyond mkdocs.

- The navigation is the list in docs/index.md, so that there is one map of the pages and not two.
- The page of commands is made here, from their help.
- Pages link to files of the project outside docs/, as people read them in the repository too. These become
  pages of the site, below project/.
- Anchors are GitHub's, so that the same links work there.
"""

from __future__ import annotations

import os.path
import posixpath
import re
from pathlib import Path
from typing import Any, Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pygments.formatters import HtmlFormatter

from docs.site.commands import page as page_of_commands

PROJECT: Final = Path(__file__).parents[2].resolve()
DOCS: Final = PROJECT / "docs"
LINK: Final = re.compile(r"(\]\()(?![a-z]+:|#)([^)#\s]+)(#[^)\s]*)?(\))")
ON_THE_MAP: Final = re.compile(
    r"^(?:## (?P<section>.+)|- \[(?P<title>[^]]+)\]\((?P<page>[^)#]+\.md)\).*)$", re.M
)
MADE: Final = {"commands.md": ("Reference", "Commands")}
"""Pages that only the site has: the section and the title by which they are in the navigation."""
LANGUAGES: Final = {".yml": "yaml", ".yaml": "yaml", ".py": "python", ".json": "json", ".jsonl": "json"}


def slug(text: str, separator: str = "-") -> str:
    """The anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", separator)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    config.mdx_configs["toc"] = {"slugify": slug}
    config.nav = navigation((DOCS / "index.md").read_text())
    return config


def navigation(index: str) -> list[dict[str, Any]]:
    """The lists of the map, under their headings."""
    found: list[dict[str, Any]] = [{"Map": "index.md"}]
    for line in ON_THE_MAP.finditer(index):
        if line["section"]:
            found.append({line["section"]: []})
        else:
            (pages,) = found[-1].values()
            pages.append({line["title"]: site_path(_file_at(DOCS / "index.md", line["page"]))})
    for page, (section, title) in MADE.items():
        for each in found:
            if section in each:
                each[section].append({title: page})
    return [section for section in found if all(section.values())]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    style = HtmlFormatter(style="friendly").get_style_defs(".code")
    files.append(
        File.generated(config, "kon.css", content=f"{style}\n{(DOCS / 'site' / 'kon.css').read_text()}")
    )
    files.append(File.generated(config, "commands.md", content=page_of_commands()))
    waiting = sorted(DOCS.glob("*.md"))
    seen = set(waiting)
    while waiting:
        page = waiting.pop()
        if page.suffix != ".md":
            continue
        for link in LINK.finditer(page.read_text()):
            file = _file_at(page, link[2])
            if file.exists() and not _is_page(file) and file not in seen:
                seen.add(file)
                waiting.append(file)
                files.append(File.generated(config, site_path(file), content=_content(file)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    source = _source(page.file.src_uri)

    def linked(link: re.Match[str]) -> str:
        file = _file_at(source, link[2])
        to = posixpath.relpath(site_path(file), posixpath.dirname(page.file.src_uri) or ".")
        return f"{link[1]}{to}{link[3] or ''}{link[4]}"

    return LINK.sub(linked, markdown) if source.suffix == ".md" else markdown


def site_path(file: Path) -> str:
    """Where a file of the project stands among the site's sources."""
    if _is_page(file):
        return file.relative_to(DOCS).as_posix()
    place = f"project/{file.relative_to(PROJECT).as_posix()}"
    if file.is_dir():
        return f"{place}/index.md"
    return place if file.suffix == ".md" else f"{place}.md"


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """A bar in the code of a table is written `\\|`, and shown as one, as GitHub does."""
    return re.sub(r"<td.*?</td>", lambda cell: cell[0].replace("\\|", "|"), html, flags=re.S)


def _is_page(file: Path) -> bool:
    """Whether it is part of the site as it is: all in docs/ but what makes the site."""
    return DOCS in file.parents and DOCS / "site" not in file.parents


def _source(src_uri: str) -> Path:
    """The other way round."""
    if not src_uri.startswith("project/"):
        return DOCS / src_uri
    place = PROJECT / src_uri.removeprefix("project/")
    return place if place.exists() else place.with_suffix("")


def _file_at(page: Path, target: str) -> Path:
    return Path(os.path.normpath(page.parent / target))


def _content(file: Path) -> str:
    """A page of the project as it is; of another file its text; of a folder what is in it."""
    if file.is_dir():
        names = sorted(each.name + "/" * each.is_dir() for each in file.iterdir() if each.name[0] not in "._")
        return "\n".join([f"# {file.relative_to(PROJECT)}/", "", *(f"- `{name}`" for name in names)])
    text = file.read_text()
    if file.suffix == ".md":
        return text
    fence = "`" * 6
    return f"# {file.relative_to(PROJECT)}\n\n{fence}{LANGUAGES.get(file.suffix, 'text')}\n{text}\n{fence}\n"
