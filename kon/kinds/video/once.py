"""Images of one job: each link is fetched once, however often the job names it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from kon.core.errors import KindError
from kon.kinds.pictures.crew import Crew
from kon.kinds.video.fetch import Fetched, Fetcher, Hold


class _Kept(NamedTuple):
    """A body in the job's folder: in memory it would take room until its last image has been decoded."""

    file: Path
    size_bytes: int
    mark: str


class FetchOnce:
    """links: all that the job names. absolute: makes a link one that can be fetched, or raises BadLink.
    folder: the job's own."""

    def __init__(
        self,
        fetcher: Fetcher,
        absolute: Callable[[str], str],
        links: Iterable[str],
        crew: Crew,
        folder: Path,
    ) -> None:
        self._fetcher = fetcher
        self._absolute = absolute
        self._crew = crew
        self._folder = folder
        self._again = {link for link, times in Counter(links).items() if times > 1}
        self._kept: dict[str, asyncio.Future[_Kept]] = {}

    async def image(self, link: str, hold: Hold) -> Fetched:
        """What the link leads to. Raises BadLink, for all images of a link alike; KindError where the disk is
        full.

        The first that asks fetches. It has to come first in the video, so that it never waits for room.
        """
        if link not in self._again:
            return await self._fetcher.image(self._absolute(link), hold)
        if link in self._kept:
            # shielded: whoever is cancelled here takes nothing from the others
            kept = await asyncio.shield(self._kept[link])
            await hold(kept.size_bytes)
            return Fetched(await self._crew.do(kept.file.read_bytes), kept.mark)
        file = self._folder / f"link-{len(self._kept)}"  # now, as there are more by the time it has come
        future = self._kept[link] = asyncio.get_running_loop().create_future()
        try:
            fetched = await self._fetcher.image(self._absolute(link), hold)
            await self._crew.do(self._write, file, fetched.data)
        except Exception as error:
            future.set_exception(error)
            future.exception()  # looked at: perhaps nobody else waits for it
            raise
        except BaseException:
            future.cancel()
            raise
        future.set_result(_Kept(file, len(fetched.data), fetched.mark))
        return fetched

    def _write(self, file: Path, data: bytes) -> None:
        try:
            file.write_bytes(data)
        except OSError as error:
            raise KindError(
                f"an image can't be written to {file.parent}: {error.strerror}. Make room there, or set "
                "TMPDIR for the workers"
            ) from error
