"""English that reads at once: short sentences, and none of the words that make people read twice."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.docs.blocks import INDENTED, PAGES, PROJECT, prose
from tests.house import tree_of

LONGEST: Final = 30
"""Words of a sentence; 25 is what to aim for."""

WORST: Final = {
    r"\bso many\b": "say which number: `n tasks`",
    r"\banew\b": "say `again`",
    r"\bbeside\b": "say `next to`, or `besides`",
    r"\bof which\b": "begin another sentence",
    r"(?:^|[.!?] )Of\b": "begin with the subject",
    r"\bLikewise\b": "say it again, or leave it out",
    r"\b(?:told|tells?) of\b": "say `report`, `name` or `describe`",
    r"\bbears?\b": "say `has`",
    r"\bin mid-run\b": "say `during the run`",
}
"""What makes people read twice, and what to write in its place."""

GENERATED: Final = frozenset({"benchmarks.md", "guarantees.md"})
"""Pages that programs write."""


MOST_WORDS: Final = 28_000
"""Words of all pages in docs/ that people write, without code. Say a thing once, where it is looked for."""

BY_PROGRAMS: Final = re.compile(
    r"^<!-- (?:written by|rules:|rooms:|what follows|animoto|throughput|efficiency|beyond)[^\n]*-->\n"
    r".*?^<!-- (?:end|up to here|animoto)[^\n]*-->$",
    re.DOTALL | re.MULTILINE,
)
"""The parts of pages that programs write, by their marks."""

OTHER_LANGUAGES: Final = frozenset(
    {"kon/backends/sqlite/schema.py", "kon/kinds/command.py", "kon/launch/sentry.py"}
)
"""Files whose long texts are SQL, or are for a shell."""


def sentences(text: str) -> Iterator[str]:
    """The sentences of a page, without its tables, headings and code; a list's items are sentences, too."""
    text = re.sub(r"<!--.*?-->", "", INDENTED.sub("\n\n", text), flags=re.DOTALL)
    for part in re.split(r"\n\s*\n|\n(?=\s*(?:[-*] |\d+\. |\|))", text):
        part = part.strip()
        if part.startswith(("|", "#", "!", "<")):
            continue
        part = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", part)
        part = " ".join(re.sub(r"`[^`]*`", "X", part).split())
        yield from re.split(r"(?<=[.!?;:])[*)\"]*\s+", part)


def wrong(text: str) -> list[str]:
    found = [f"{len(each.split())} words: {each}" for each in sentences(text) if len(each.split()) > LONGEST]
    plain = re.sub(r"`[^`]*`", "X", text)
    for pattern, mend in WORST.items():
        for match in re.finditer(pattern, plain, re.MULTILINE):
            around = " ".join(plain[max(0, match.start() - 40) : match.end() + 40].split())
            found.append(f'"{match[0].strip()}", {mend}: ... {around} ...')
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_read_at_once(page: Path) -> None:
    if page.name in GENERATED:
        return
    assert wrong(prose(page)) == []


def words_of(page: Path) -> int:
    text = INDENTED.sub("\n\n", BY_PROGRAMS.sub("", prose(page)))
    return sum(re.search(r"\w", each) is not None for each in text.split())


def test_the_pages_are_short_together() -> None:
    docs = [page for page in PAGES if page.parent.name == "docs" and page.name not in GENERATED]
    counts = {page.name: words_of(page) for page in docs}
    assert sum(counts.values()) <= MOST_WORDS, counts


def test_what_programs_write_is_not_counted(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# One\n\ntwo three | `four`\n\n    not these\n\n```sh\nnor this\n```\n\n"
        "<!-- written by `x` -->\nnor this\n<!-- up to here -->\n\nfive\n"
    )
    assert words_of(page) == 5


def docstrings(file: Path) -> Iterator[str]:
    for node in ast.walk(tree_of(file)):
        match node:
            case ast.Expr(ast.Constant(str() as text)):
                yield text


def test_docstrings_read_at_once() -> None:
    found = [
        f"{file.relative_to(PROJECT)}: {each}"
        for file in sorted((PROJECT / "kon").rglob("*.py"))
        for text in docstrings(file)
        for each in (*wrong(text), *(["it begins with The same"] if text.startswith("The same") else []))
    ]
    assert found == []


def said(file: Path) -> Iterator[str]:
    """What a program may say: texts of five words or more in its source, docstrings left out."""
    tree = tree_of(file)
    parts = {id(each) for node in ast.walk(tree) for each in inside(node)}
    for node in ast.walk(tree):
        if id(node) not in parts and (text := text_of(node)) is not None and len(text.split()) >= 5:
            yield text


def inside(node: ast.AST) -> list[ast.AST]:
    """The parts of a node that are no texts by themselves."""
    match node:
        case ast.JoinedStr():
            return [each for each in ast.walk(node) if each is not node]
        case ast.Expr(ast.Constant() as docstring):
            return [docstring]
    return []


def text_of(node: ast.AST) -> str | None:
    """A literal, with an X for each value that is put into it."""
    match node:
        case ast.Constant(str() as text):
            return text
        case ast.JoinedStr(values):
            return "".join(text_of(each) or "X" for each in values)
    return None


def test_messages_and_helps_read_at_once() -> None:
    """Errors, warnings, notes, tables' words and helps of options."""
    found = [
        f"{file.relative_to(PROJECT)}: {each}"
        for file in sorted((PROJECT / "kon").rglob("*.py"))
        if file.relative_to(PROJECT).as_posix() not in OTHER_LANGUAGES
        for text in said(file)
        for each in wrong(text)
    ]
    assert found == []


def test_pages_that_messages_name_are_there() -> None:
    named = {
        name
        for file in (PROJECT / "kon").rglob("*.py")
        for name in re.findall(r"\bdocs/[\w-]+\.md\b", file.read_text())
    }
    assert "docs/aws.md" in named
    assert [name for name in sorted(named) if not (PROJECT / name).exists()] == []


def test_the_check_finds_what_it_is_for() -> None:
    assert wrong("It begins anew. " + "word " * 31)
    assert wrong("Of what is said.") == ['"Of", begin with the subject: ... Of what is said. ...']
    assert wrong("A short sentence, about `anew` as a word.") == []


def test_messages_are_found_whole(tmp_path: Path) -> None:
    source = tmp_path / "a.py"
    source.write_text('"""It is a docstring of words."""\nraise E(f"one {a} of " "three so many words")\n')
    assert list(said(source)) == ["one X of three so many words"]


COUNTED: Final = re.compile(
    r"^ (runs|tasks(?!/s)|hosts|workers|files|objects|messages|links|things|spans|lines)\b"
)
"""Nouns after a number that may be one: `counted` in kon/core/errors.py writes them."""

ALWAYS_MANY: Final = {
    "api/progress.py",
    "backends/sim/messages.py",
    "cli/map.py",
    "cli/map_words.py",
    "cli/plan.py",
    "fleet/autoscale/policy.py",
    "kinds/stored.py",
    "report/tables.py",
    "report/traces/__init__.py",
    "trials/calibrate.py",
    "trials/plan/elastic.py",
    "trials/plan/forecast.py",
    "trials/prove/accounts.py",
    "trials/prove/stage.py",
}
"""Modules whose numbers can't be one, or stand in a trace."""


def uncounted(tree: ast.AST) -> Iterator[ast.JoinedStr]:
    """Texts that would say `1 runs`. `1 of 3 runs`, `1 tasks/s` and a constant are as they should be."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.JoinedStr):
            continue
        before = ""
        for value, after in zip(node.values, node.values[1:], strict=False):
            text = str(after.value) if isinstance(after, ast.Constant) else ""
            if (
                isinstance(value, ast.FormattedValue)
                and COUNTED.match(text)
                and not before.endswith((" of ", " of its "))
                and not ast.unparse(value.value).isupper()
            ):
                yield node
            before = str(value.value) if isinstance(value, ast.Constant) else ""


def test_a_text_that_says_1_runs_is_found() -> None:
    said = [ast.parse(f"f'{text}'") for text in ("{n} runs", "1 of {n} runs", "{n} tasks/s", "{MOST} runs")]
    assert [bool(list(uncounted(each))) for each in said] == [True, False, False, False]


def test_one_run_is_not_1_runs() -> None:
    found = [
        f"{file}:{node.lineno}: {ast.unparse(node):.100}"
        for file in sorted((PROJECT / "kon").rglob("*.py"))
        if str(file.relative_to(PROJECT / "kon")) not in ALWAYS_MANY
        for node in uncounted(tree_of(file))
    ]
    assert found == []
