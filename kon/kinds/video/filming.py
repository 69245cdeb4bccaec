"""One job on its way: its pictures are fetched, decoded and prepared in any order, and encoded in theirs."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from typing import Any, Final

import av
import msgspec

from kon.core.errors import KindError, counted
from kon.kinds.pictures.crew import Crew
from kon.kinds.pictures.header import Header, read_header
from kon.kinds.video.caption import Captions, behind, card_of, of_cards, plain
from kon.kinds.video.decode import Decoder
from kon.kinds.video.encode import Encoder
from kon.kinds.video.fetch import Fetched, Fetcher, FetchOnce
from kon.kinds.video.film import Film, Place
from kon.kinds.video.jobfile import VideoJob
from kon.kinds.video.notes import ended
from kon.kinds.video.room import Room, give_back_all
from kon.kinds.video.times import TITLE, Times
from kon.kinds.web.limits import BadImage, BadLink

FETCHED_BYTES: Final = 40_000_000
"""Room for images that are fetched and not yet decoded."""
DECODING_BYTES: Final = 220_000_000
"""Room for images that are being decoded, by the estimate of their headers and the size of their files."""
LARGE_BYTES: Final = 40_000_000
"""What an image takes that is not decoded while frames are encoded, which takes 180 MB with VP9."""
_SOUND: Final = -1
"""Place of the sound among the contents of a job."""
MOST_LISTED: Final = 100
"""Skipped images that a result lists; all are counted."""


class JobRules(msgspec.Struct, frozen=True):
    """When an image is taken, and when a job has failed.

    max_megapixels: of one image. min_images: with fewer good ones the job fails. refresh: a job that has been
    done is done again.
    """

    max_megapixels: float = 120.0
    min_images: int = 1
    url_expires_s: float = 600.0
    refresh: bool = False


class Skipped(msgspec.Struct, frozen=True):
    """An image that is not in the video. image: its place among the links, from 1."""

    image: int
    link: str
    reason: str


class Filming:
    """The state of one job. Make it in the running loop."""

    def __init__(
        self,
        job: VideoJob,
        film: Film,
        times: Times,
        rules: JobRules,
        crew: Crew,
        encoder: Encoder,
        once: FetchOnce,
    ) -> None:
        self._job = job
        self._film = film
        self._times = times
        self._rules = rules
        self._crew = crew
        self._encoder = encoder
        self._once = once
        self._decoder = Decoder(film)
        self._covering = Decoder(msgspec.structs.replace(film, fit="crop"))
        """For images behind cards, which have no bars."""
        self._captions = Captions(film)
        self._lettering = Captions(film, of_cards(film))
        self._heavy = asyncio.Lock()
        """Held while a large image is decoded, or frames are encoded: not both take their memory at once."""
        self._room = Room(FETCHED_BYTES)
        self._decoding = Room(DECODING_BYTES, first_waits=True)
        self._taken = 0
        self._moved = asyncio.Condition()
        self._digests: dict[int, str] = {}
        self.skipped: list[Skipped] = []
        self.warnings: dict[int, str] = {}
        """By the place of its image, what is not as it was asked for."""
        self.card_warnings: dict[str, str] = {}
        """By the option of the card, what is not as it was asked for."""
        self.marks: dict[str, str] = {}
        """By link, what tells its content from any later one."""

    def contents(self) -> list[str]:
        """Digests of what the video is made of, in order; empty for an image that was left out."""
        left_out = {skipped.image - 1 for skipped in self.skipped}
        images = range(len(self._job.links))
        found = ["" if number in left_out else self._digests[number] for number in images]
        return [*found, self._digests.get(_SOUND, "")]

    async def run(self, fetcher: Fetcher, absolute: Callable[[str], str]) -> float:
        """The duration of the video, in seconds. Raises KindError when too few images are good.

        fetcher, absolute: for the sound.
        """
        job, numbers = self._job, self._times.numbers
        pictures = [asyncio.create_task(self._prepared(number)) for number in numbers]
        sound = asyncio.create_task(self._sound(fetcher, absolute))
        try:
            for number, picture in zip(numbers, pictures, strict=True):
                try:
                    prepared = await picture
                    async with self._heavy:
                        await self._crew.do(self._encoder.add, prepared, number)
                except BadLink as error:
                    self.skipped.append(Skipped(number + 1, job.links[number][:300], str(error)))
                    # a job that has failed already need not go on
                    if len(self.skipped) > len(job.links) - self._rules.min_images:
                        break
                async with self._moved:
                    self._taken = number + 1
                    self._moved.notify_all()
            self._check_enough()
            return await self._crew.do(self._encoder.finish, await sound)
        finally:
            self._encoder.stop()
            for task in (*pictures, sound):
                task.cancel()
            await ended((*pictures, sound))

    async def _prepared(self, number: int) -> Any:
        """One picture, as its encoder takes it. Raises BadLink, BadImage among it, for an image."""
        job = self._job
        if number == TITLE or number == len(job.links):
            return await self._card(number)

        def prepare(data: bytes, header: Header) -> tuple[Any, str]:
            caption = job.captions[number] if job.captions else ""
            focus = job.focus[number] if job.focus else self._film.focus
            return self._of_image(data, header, caption, focus)

        prepared, wrong = await self._decoded(number, number, prepare)
        if wrong:
            self.warnings[number] = f"its caption: {wrong}"
        return prepared

    async def _card(self, number: int) -> Any:
        """A card. One whose image can't be had stands on the background's colour, and the result says so."""
        card, wrong = card_of(self._film, number), []
        made: tuple[Any, str] | None = None
        if card.image is not None:

            def on_image(data: bytes, header: Header) -> tuple[Any, str]:
                return self._lettered(behind(self._covering.decode(data, header)), card.text)

            try:
                made = await self._decoded(number, card.image, on_image)
            except BadLink as error:
                wrong.append(f"image {card.image + 1} is not behind it: {error}")
        if made is None:
            await self._turn(number)
            made = await self._crew.do(lambda: self._lettered(plain(self._film, card.background), card.text))
        if made[1]:
            wrong.append(made[1])
        if wrong:
            self.card_warnings[card.name] = "; ".join(wrong)
        return made[0]

    async def _decoded(self, number: int, image: int, prepare: Callable[[bytes, Header], Any]) -> Any:
        """What `prepare` makes of an image, in a thread. number: of the picture that it is for."""
        async with self._room.image(number):
            link = self._job.links[image].strip()
            fetched = await self._once.image(link, lambda size: self._room.hold(number, size))
            data = fetched.data
            self._has(image, link, fetched)
            header = read_header(data)
            self._check(header)
            await self._turn(number)
            async with self._decoding.image(number):
                # libavcodec copies a packet, and then once more what it reads of it
                takes_bytes = self._decoder.decoded_bytes(header) + 2 * len(data)
                await self._decoding.hold(number, takes_bytes)
                if self._film.still or takes_bytes < LARGE_BYTES:
                    return await self._crew.do(prepare, data, header)
                async with self._heavy:
                    await self._crew.do(give_back_all)
                    made = await self._crew.do(prepare, data, header)
                    await self._crew.do(give_back_all)
                    return made

    def _has(self, number: int, link: str, fetched: Fetched) -> None:
        """Note what a link led to. number: the place of its image, or `_SOUND`."""
        self._digests[number] = hashlib.sha256(fetched.data).hexdigest()
        self.marks[link] = fetched.mark

    def _check(self, header: Header) -> None:
        megapixels = header.width * header.height / 1e6
        size = f"its header says {header.width} x {header.height} pixels"
        if megapixels > self._rules.max_megapixels:
            most = self._rules.max_megapixels
            raise BadImage(f"{size}, {megapixels:.1f} megapixels; the option max_megapixels allows {most:g}")
        takes_bytes = self._decoder.decoded_bytes(header)
        if takes_bytes > DECODING_BYTES:
            raise BadImage(
                f"{size}, which as {header.type} takes {takes_bytes / 1e6:.0f} MB to decode; "
                f"{DECODING_BYTES / 1e6:.0f} are allowed"
            )

    def _of_image(self, data: bytes, header: Header, caption: str, focus: Place) -> tuple[Any, str]:
        """What the encoder makes of an image; and what is wrong with its caption, empty for nothing."""
        frame, place = self._decoder.framed(data, header, focus)
        if not caption.strip():
            return self._encoder.prepare(frame, None, place), ""
        overlay, wrong = self._captions.drawn(caption)
        return self._encoder.prepare(frame, overlay, place), wrong

    def _lettered(self, frame: av.VideoFrame, text: str) -> tuple[Any, str]:
        """What the encoder makes of a card; and what is wrong with its text."""
        overlay, wrong = self._lettering.drawn(text)
        return self._encoder.prepare(frame, overlay, None), wrong

    async def _sound(self, fetcher: Fetcher, absolute: Callable[[str], str]) -> bytes | None:
        """Raises KindError: a video without its sound is not what was asked for."""
        link = self._job.audio
        if link is None:
            return None
        try:
            fetched = await fetcher.sound(absolute(link))
        except BadLink as error:
            raise KindError(f"the audio can't be had: {error}") from error
        self._has(_SOUND, link, fetched)
        return fetched.data

    def _check_enough(self) -> None:
        """Raises KindError, with the reasons, when too few images are left."""
        links, skipped, least = self._job.links, self.skipped, self._rules.min_images
        good = len(links) - len(skipped)
        if good >= least:
            return
        if not skipped:
            raise KindError(f"the job has {counted(good, 'image')}, and min_images asks for {least}")
        first = "; ".join(f"image {each.image}: {each.reason}" for each in skipped[:3])
        more = f"; and {len(skipped) - 3} more" if len(skipped) > 3 else ""
        raise KindError(
            f"only {good} of {len(links)} images are good, and min_images asks for {least}: {first}{more}",
            {"skipped": msgspec.to_builtins(skipped[:MOST_LISTED]), "skipped_images": len(skipped)},
        )

    async def _turn(self, number: int) -> None:
        """Wait until the encoder wants this picture prepared."""
        ahead = self._encoder.ahead
        if ahead is not None:
            async with self._moved:
                await self._moved.wait_for(lambda: number < self._taken + ahead)
