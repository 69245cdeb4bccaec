"""links.tsv: the links in results, as they come, whatever kills the client."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

import pytest

from kon.core.journal import FileJournal
from kon.core.task import Answers, Outcome, State, encode
from kon.engine.records.links import Link, LinkedJournal, LinkLog, links_of
from kon.engine.records.records import RunFolder

URL = "https://h/{}.mp4?sig"
FIRST = 1_700_000_000


def answers(*indexes: int, until_s: float = FIRST, **result: Any) -> bytes:
    results = [{"url": URL.format(index), "url_until_s": until_s + index, **result} for index in indexes]
    outcomes = [
        Outcome(index, 1, State.DONE, each, None, 0.0, 1.0)
        for index, each in zip(indexes, results, strict=True)
    ]
    return encode(Answers("w1.1", outcomes))


def line(index: int) -> str:
    return f"run/{index}\t{URL.format(index)}\t2023-11-14T22:13:2{index}+00:00\n"


def journal(folder: RunFolder) -> LinkedJournal:
    return LinkedJournal(FileJournal(folder.results), LinkLog(folder))


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


def test_links_are_written_as_results_come(folder: RunFolder) -> None:
    writing = journal(folder)
    assert not folder.links.exists()
    no_link = [Outcome(7, 1, State.DONE, {"exit": 0}), Outcome(8, 1, State.FAILED, None, "no")]
    writing.append([encode(Answers("w1.1", no_link))])
    assert not folder.links.exists(), "most runs have none"
    writing.append([answers(2, 0)])
    assert folder.links.read_text() == line(2) + line(0)
    writing.append([answers(1)])
    assert folder.links.read_text() == line(2) + line(0) + line(1)
    writing.close()
    assert folder.links.read_text() == line(2) + line(0) + line(1)


@pytest.mark.parametrize("left", ["", line(0), line(0) + line(1)[:20], line(1)[:3], line(0) + line(0)])
def test_the_next_client_finds_each_link_once_wherever_the_last_was_killed(
    folder: RunFolder, left: str
) -> None:
    writing = journal(folder)
    writing.append([answers(0), answers(1)])
    # and so it ends, with this much of the links written
    folder.links.write_text(left)
    with folder.results.open("ab") as file:
        file.write(answers(2)[:40])
    again = journal(folder)
    assert folder.links.read_text() == line(0) + line(1)
    again.append([answers(2)])
    assert folder.links.read_text() == line(0) + line(1) + line(2)
    again.close()


def test_a_task_that_was_answered_again_has_its_last_link(folder: RunFolder) -> None:
    writing = journal(folder)
    writing.append([answers(0, until_s=1.0), answers(0)])
    writing.close()
    assert folder.links.read_text() == line(0)


def test_what_was_renewed_meanwhile_stays(folder: RunFolder) -> None:
    writing = journal(folder)
    writing.append([answers(0), answers(1)])
    renewed = Link(0, "https://h/0.mp4?fresh", FIRST + 3_600.0)
    LinkLog(folder).write([renewed])
    writing.append([answers(2)])
    writing.close()
    assert folder.links.read_text() == renewed.line("run") + "\n" + line(1) + line(2)


def test_a_poster_has_a_line_of_its_own(folder: RunFolder) -> None:
    result = {"url": "https://h/0.mp4", "poster_url": "https://h/0.jpg", "url_until_s": FIRST}
    made = Outcome(0, 1, State.DONE, {**result, "poster_url_until_s": FIRST})
    writing = journal(folder)
    writing.append([encode(Answers("w1.1", [made])), answers(1)])
    video, poster = links_of(made)
    assert poster.line("run") == video.line("run").replace("0.mp4", "0.jpg") + "\tposter"
    assert folder.links.read_text().splitlines()[:2] == [video.line("run"), poster.line("run")]
    renewed = Link(0, "https://h/0.jpg?fresh", FIRST + 3_600.0, "poster")
    LinkLog(folder).write([renewed])
    writing.close()
    assert folder.links.read_text().splitlines()[:2] == [video.line("run"), renewed.line("run")]


@pytest.mark.parametrize(
    ("result", "until_s"),
    [
        ({"url": "https://h/a", "url_until_s": 5.0, "url_expires_s": 600}, 5.0),
        ({"url": "https://h/a", "url_expires_s": 600}, 700.0),
        ({"url": "https://h/a"}, None),
        ({"url": "file:///a", "url_expires_s": 600}, None),
    ],
)
def test_when_a_link_dies(result: dict[str, Any], until_s: float | None) -> None:
    [link] = links_of(Outcome(0, 1, State.DONE, result, None, 0.0, 100.0))
    assert link == Link(0, result["url"], until_s)
    assert link.line("r").count("\t") == (1 if until_s is None else 2)


@pytest.mark.parametrize("result", [None, {"url": 5}, {"url": "a\tb"}, {"url": ""}, ["url"], {"exit": 0}])
def test_what_is_no_link(result: Any) -> None:
    assert links_of(Outcome(0, 1, State.DONE, result)) == []


def test_waiting_for_the_disk_is_waiting_for_the_answers(folder: RunFolder) -> None:
    class Counted(FileJournal):
        synced = itertools.count()

        def sync(self) -> None:
            next(self.synced)
            super().sync()

    counted = Counted(folder.results, durable=True)
    writing = LinkedJournal(counted, LinkLog(folder))
    writing.append([answers(0)])
    asyncio.run(writing.on_disk())
    assert next(counted.synced) == 1
    writing.close()
