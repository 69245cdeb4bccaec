"""links.tsv: a line for each link that a result has, written as results come.

The file can always be made of results.jsonl. So it is, when a client begins and ends: a line that a killed
client did not write, or wrote in part, is whole then, and none is there twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from kon.core.errors import StoreError
from kon.core.journal import Journal
from kon.core.task import Answers, Outcome, task_id
from kon.engine.records.records import RunFolder, replace

_MARK: Final = b'"url"'
"""In each line of answers that has a link, and in few others: the rest is not decoded."""
_answers: Final = msgspec.json.Decoder(Answers)


class Link(msgspec.Struct, frozen=True):
    """until_s: when it dies, in seconds since the epoch; None for never, or where nobody knows.

    name: `poster` for `poster_url`; empty for `url`.
    """

    index: int
    url: str
    until_s: float | None
    name: str = ""

    @property
    def place(self) -> tuple[int, str]:
        """Tells it from all other links of its run."""
        return self.index, self.name

    def line(self, run: str) -> str:
        """The task's id, the link, the time in ISO 8601 (UTC), and the name of one that has a name."""
        return "\t".join((task_id(run, self.index), self.url, iso(self.until_s), self.name)).rstrip()


def iso(until_s: float | None) -> str:
    return "" if until_s is None else datetime.fromtimestamp(until_s, UTC).isoformat("T", "seconds")


_NAMES: Final = {"url": "", "poster_url": "poster"}


def links_of(outcome: Outcome) -> list[Link]:
    """The links in a result, if any: the one to what was made, and one to its poster."""
    found = (_link_of(outcome, key, name) for key, name in _NAMES.items())
    return [link for link in found if link is not None]


def _link_of(outcome: Outcome, key: str, name: str) -> Link | None:
    result: Any = outcome.result
    url = result.get(key) if isinstance(result, dict) else None
    if not isinstance(url, str) or url.split() != [url]:
        return None
    if url.startswith("file:"):
        return Link(outcome.index, url, None, name)
    until_s, expires_s = result.get(f"{key}_until_s"), result.get("url_expires_s")
    if isinstance(until_s, int | float):
        return Link(outcome.index, url, float(until_s), name)
    # it was made just before the task ended
    known = isinstance(expires_s, int | float)
    return Link(outcome.index, url, outcome.ended_s + expires_s if known else None, name)


class LinkLog:
    """The links of one run, which one client writes at a time."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._path = folder.links
        self._run = folder.path.name
        self._has_some = self._path.exists()

    def append(self, lines: Sequence[bytes]) -> None:
        """Add the links of answers. Raises StoreError."""
        links = [link.line(self._run) for link in _links(lines)]
        if not links:
            return
        self._has_some = True
        try:
            # opened each time: `kon results --links` may have put another file in its place
            with self._path.open("a", encoding="utf-8") as file:
                file.write("".join(f"{line}\n" for line in links))
        except OSError as error:
            raise _not_written(self._path, error) from error

    def settle(self) -> None:
        """Write the file from the records, whole or not at all; what was renewed stays. Raises StoreError."""
        try:
            with self._folder.results.open("rb") as file:
                links = {link.place: link for link in _links(file)}
        except FileNotFoundError:
            return
        except OSError as error:
            raise StoreError(f"{self._folder.results}: can't be read: {error.strerror}") from error
        if links:
            renewed = self.read()
            self._has_some = True
            self.write(later(link, renewed.get(place)) for place, link in links.items())

    def read(self) -> dict[tuple[int, str], Link]:
        """The whole lines of links that die, by their places; none where the file is missing."""
        try:
            lines = self._path.read_text("utf-8", "replace").splitlines()
        except OSError:
            return {}
        found = {}
        for line in lines:
            name, _, rest = line.partition("\t")
            url, _, rest = rest.partition("\t")
            until, _, named = rest.partition("\t")
            owner, _, index = name.rpartition("/")
            try:
                if owner == self._run and until:
                    link = Link(int(index), url, datetime.fromisoformat(until).timestamp(), named)
                    found[link.place] = link
            except ValueError:
                continue  # half a line
        return found

    def write(self, links: Iterable[Link]) -> None:
        """Put a file with these links in place of what is there. Raises StoreError."""
        body = "".join(f"{link.line(self._run)}\n" for link in links).encode()
        if not self._path.exists() or self._path.read_bytes() != body:
            replace(self._path, body)

    def close(self) -> None:
        """Settle, where there are links at all: another process may have renewed some meanwhile."""
        if self._has_some:
            self.settle()


class LinkedJournal(Journal):
    """The journal of answers, which notes the links in them as well."""

    def __init__(self, answers: Journal, log: LinkLog) -> None:
        self._answers = answers
        self._log = log
        self.durable = answers.durable
        log.settle()

    def append(self, lines: Sequence[bytes]) -> None:
        self._answers.append(lines)
        self._log.append(lines)

    async def on_disk(self, always: bool = False) -> None:
        await self._answers.on_disk(always)

    def sync(self) -> None:
        self._answers.sync()

    def close(self) -> None:
        self._answers.close()
        self._log.close()


def _links(lines: Iterable[bytes]) -> list[Link]:
    found = []
    for line in lines:
        if _MARK in line:
            try:
                outcomes = _answers.decode(line).outcomes
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue  # half a line, of which whoever reads the records warns
            found += [link for outcome in outcomes for link in links_of(outcome)]
    return found


def later(link: Link, renewed: Link | None) -> Link:
    """The one of two that dies later."""
    if renewed is None or renewed.until_s is None or link.until_s is None:
        return link
    return renewed if renewed.until_s > link.until_s + 1 else link  # the file has whole seconds


def _not_written(path: Path, error: OSError) -> StoreError:
    return StoreError(
        f"{path}: can't be written: {error.strerror}. Nothing that was recorded is lost; make room, then "
        "start again"
    )
