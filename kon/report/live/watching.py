"""All runs that are followed: one reader for each, however many look, and none while nobody does."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final, TypeVar

import msgspec

from kon.core.errors import KonError
from kon.engine.records.records import RunFolder
from kon.report.live.board import Board
from kon.report.live.follower import Follower
from kon.report.live.snapshot import IN_MOTION, RunLine, ShownState

LOOK_S: Final = 0.5
"""Between two looks at a run that somebody watches, in seconds; at least as long as the look took."""

LIST_S: Final = 2.0
"""Between two looks at all the others."""

OTHERS_S: Final = 0.25
"""Spent, about, on all the others at each listing, in seconds."""

LAST_S: Final = 2.0
"""Given to catching up before the end, in seconds: nobody who ends a server waits for all of a large run."""

MOST_RUNS: Final = 500
"""Listed: those that go on, then the latest."""

MOST_KEPT: Final = 8
"""Runs that are over and that nobody looks at, whose counts are kept in case somebody comes back."""

RUNS: Final = "runs"
RUN: Final = "run"
FAILURES: Final = "failures"
END: Final = "end"

_Found = TypeVar("_Found")

Discover = Callable[[], Sequence[RunFolder]]
"""The runs that are there now. Called in a thread. Raises KonError."""


class Watching:
    """Follows the runs that `discover` finds, and puts what it reads of them on a board."""

    def __init__(self, discover: Discover, now_s: Callable[[], float]) -> None:
        self.board = Board()
        self._discover = discover
        self._now_s = now_s
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="kon-live-reader")
        self._viewers: Counter[str] = Counter()
        self._wanted = asyncio.Event()
        self._folders: dict[str, RunFolder] = {}
        self._followers: dict[str, Follower] = {}
        self._over: dict[str, RunLine] = {}
        self._looked_s: dict[str, float] = {}
        self._list_at_s = 0.0

    async def knows(self, id: str) -> bool:
        """Whether there is a run of that id, perhaps since just now."""
        if id not in self._folders:
            await self._in_thread(self._find)
        return id in self._folders

    async def folder(self, id: str) -> RunFolder | None:
        """The run of that id; None where there is none."""
        return self._folders[id] if await self.knows(id) else None

    @contextmanager
    def viewer(self, id: str) -> Iterator[None]:
        """Somebody looks at the list, and at this run; "" for none."""
        self._viewers[id] += 1
        self._wanted.set()
        self._list_at_s = 0.0
        try:
            yield
        finally:
            self._viewers[id] -= 1
            if not self._viewers[id]:
                del self._viewers[id]
            if not self._viewers:
                self._wanted.clear()

    async def run(self) -> None:
        """Look until cancelled."""
        now_s = asyncio.get_running_loop().time
        while True:
            await self._wanted.wait()
            began_s = now_s()
            behind = await self._round(everything=began_s >= self._list_at_s)
            took_s = now_s() - began_s
            # while it catches up it reads for half of the time, so that it never takes a whole processor
            await asyncio.sleep(took_s if behind else max(LOOK_S, took_s))

    async def last_look(self, data: dict[str, str]) -> None:
        """Show how everything stands now, and that nothing will follow."""
        now_s = asyncio.get_running_loop().time
        until_s = now_s() + LAST_S
        while await self._round(everything=True) and now_s() < until_s:
            pass
        self.board.put("", END, msgspec.json.encode(data))

    def close(self) -> None:
        self._reader.shutdown(wait=False, cancel_futures=True)

    async def _round(self, everything: bool) -> bool:
        """One look; whether there is more to be read at once."""
        viewed = {id for id in self._viewers if id}
        behind = False
        for id in sorted(each for each in viewed if each in self._folders):
            parts, more = await self._in_thread(self._look, id)
            behind = behind or more
            for event, part in parts:
                self.board.put(id, event, part)
        if everything:
            self._list_at_s = asyncio.get_running_loop().time() + LIST_S
            self.board.put("", RUNS, msgspec.json.encode(await self._in_thread(self._list)))
        self._tidy(viewed)
        return behind

    async def _in_thread(self, work: Callable[..., _Found], *args: object) -> _Found:
        return await asyncio.get_running_loop().run_in_executor(self._reader, work, *args)

    # What follows runs in the reader's thread, one at a time.

    def _find(self) -> None:
        try:
            found = self._discover()
        except KonError:
            return  # what is known stays, and is shown as gone where it is
        known = {each.path for each in self._folders.values()}
        for folder in found:
            if folder.path not in known:
                self._folders[self._id(folder)] = folder

    def _id(self, folder: RunFolder) -> str:
        """The run's name; with the folder that it is in where another one has the same."""
        id, number = folder.path.name, 1
        if id in self._folders:
            id = f"{folder.path.absolute().parent.name}/{id}"
        unique = id
        while unique in self._folders:
            number += 1
            unique = f"{id} ({number})"
        return unique

    def _follower(self, id: str) -> Follower:
        if id not in self._followers:
            self._followers[id] = Follower(self._folders[id], id, self._now_s)
        return self._followers[id]

    def _look(self, id: str) -> tuple[list[tuple[str, bytes]], bool]:
        follower = self._follower(id)
        follower.look()
        shown = follower.snapshot()
        parts = [] if shown is None else [(RUN, msgspec.json.encode(shown))]
        return [*parts, (FAILURES, msgspec.json.encode(follower.failures()))], follower.behind

    def _list(self) -> list[RunLine]:
        self._find()
        self._look_at_others()
        lines = [self._line(id, folder) for id, folder in self._folders.items()]
        lines.sort(key=lambda line: (line.state not in IN_MOTION, -(line.began_s or 0.0), line.name))
        return lines[:MOST_RUNS]

    def _line(self, id: str, folder: RunFolder) -> RunLine:
        if folder.finished:
            line = self._over.get(id)
            if line is None:
                line = self._over[id] = _finished(id, folder)
            return line
        self._over.pop(id, None)
        return self._follower(id).line()

    def _look_at_others(self) -> None:
        """At runs that are not over and that nobody looks at: as many as there is time for, first those that
        have waited longest. The run that somebody looks at must not wait for them."""
        left = (id for id, folder in self._folders.items() if not folder.finished)
        others = [id for id in left if id not in self._viewers]
        others.sort(key=lambda id: self._looked_s.get(id, 0.0))
        began_s = time.monotonic()
        for id in others:
            self._follower(id).look()
            self._looked_s[id] = time.monotonic()
            if self._looked_s[id] - began_s > OTHERS_S:
                return

    def _tidy(self, viewed: set[str]) -> None:
        idle = [id for id in self._followers if id not in viewed and id in self._over]
        for id in idle[:-MOST_KEPT]:
            del self._followers[id]
            self.board.drop(id)


def _finished(id: str, folder: RunFolder) -> RunLine:
    """From its row alone: none of its records are read until somebody looks at it."""
    name = folder.path.name
    try:
        row = folder.read_summary()
        return RunLine(
            id,
            name,
            ShownState.FINISHED,
            tasks=row["tasks"],
            done=row["done"],
            failed=row["failed"],
            others=row["dead"] + row["lost"] + row.get("cancelled", 0),
            tasks_per_s=row["tasks_per_s"],
            began_s=row.get("began_s"),
        )
    except KonError as error:
        return RunLine(id, name, ShownState.UNREADABLE, problem=str(error))
    except (KeyError, TypeError):
        return RunLine(id, name, ShownState.UNREADABLE, problem=f"{folder.summary}: is not a row of kon's")
