"""The blocks of a page that are code: what is run of them, and what is a file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

PROJECT: Final = Path(__file__).parents[2]
PAGES: Final = [
    PROJECT / "README.md",
    PROJECT / "CONTRIBUTING.md",
    *sorted((PROJECT / "docs").glob("*.md")),
]

PROGRAMS: Final = (
    ".", "ansible-playbook", "aws", "cd", "curl", "docker", "find", "git", "kon", "make", "pip", "pytest",
    "python", "python3", "ssh", "sudo",
)  # fmt: skip
"""What an indented block begins with if it is commands."""

FENCED: Final = re.compile(r"^(?P<fence>`{3,})(?P<language>\w*).*\n(?P<text>(?:.*\n)*?)(?P=fence)$", re.M)
INDENTED: Final = re.compile(r"(?<=\n\n)(?P<text> {4}.*\n(?: {4}.*\n|\n)*)")
NAMED: Final = re.compile(r"# ([\w./-]+\.\w+)\n")


class Block(NamedTuple):
    """language: `` for a fence that names none, `indented` for a block without a fence."""

    language: str
    text: str

    @property
    def file(self) -> str | None:
        """What the reader is to call it: the name in its first line, of a whole file."""
        named = NAMED.match(self.text)
        return None if named is None or self.language == "indented" else named[1]


def blocks(page: Path) -> list[Block]:
    """In the order of the page."""
    text = page.read_text()
    found = {match.start(): Block(match["language"], match["text"]) for match in FENCED.finditer(text)}
    # Fences are blanked, so that nothing within them is taken for an indented block.
    rest = FENCED.sub(lambda match: re.sub(r"[^\n]", " ", match[0]).replace("    ", "   x"), text)
    for match in INDENTED.finditer(rest):
        lines = [line.removeprefix("    ") for line in match["text"].splitlines(keepends=True)]
        found[match.start()] = Block("indented", "".join(lines).strip("\n") + "\n")
    return [found[at] for at in sorted(found)]


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return FENCED.sub("", page.read_text())


class Step(NamedTuple):
    """A command, and what it is said to print; None where nothing is said of it."""

    command: str
    output: str | None


def steps(block: Block) -> Iterator[Step]:
    """The commands of a block: none where it is something else."""
    if block.language == "console":
        for part in re.split(r"^\$ ", block.text, flags=re.M)[1:]:
            command, _, output = part.partition("\n")
            yield Step(command, output)
    elif block.language in ("sh", "bash", "shell"):
        for line in block.text.replace("\\\n", "").splitlines():
            if line.strip() and not line.startswith("#"):
                yield Step(line, None)
    elif block.language == "indented" and block.text.split(maxsplit=1)[0] in PROGRAMS:
        for line in block.text.splitlines():
            if line.split(maxsplit=1)[:1] and line.split(maxsplit=1)[0] in PROGRAMS:
                yield Step(line, None)


def bare(command: str) -> str:
    """A command without the comment that follows it."""
    return re.sub(r"\s+# .*$", "", command).strip()
