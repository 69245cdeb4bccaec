"""One job: links in, a video in the object store out.

All steps overlap. Each image goes its own way, fetched, decoded and prepared as soon as a connection and a
thread are free for it; then the pictures are taken in order, and the file is written and stored.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import av
import msgspec

from kon.core.errors import KindError
from kon.core.objects import ObjectStore
from kon.core.scratch import working_folder
from kon.kinds.pictures.crew import Crew
from kon.kinds.pictures.header import Header, read_header
from kon.kinds.pictures.refusal import BadImage
from kon.kinds.video.allocator import give_back_all
from kon.kinds.video.caption import Captions, of_cards
from kon.kinds.video.cards import behind, card_of, plain
from kon.kinds.video.decode import Decoder
from kon.kinds.video.encode import Encoder
from kon.kinds.video.fetch import Fetched, Fetcher
from kon.kinds.video.film import Film, Place
from kon.kinds.video.jobfile import Job, film_for
from kon.kinds.video.once import FetchOnce
from kon.kinds.video.planes import rgb_of
from kon.kinds.video.room import Room
from kon.kinds.video.times import TITLE, Times, way_of
from kon.kinds.video.videofile import check_encoders
from kon.kinds.video.ways import make_encoder
from kon.kinds.web.links import Guard
from kon.kinds.web.refusal import BadLink

VERSION: Final = 5
"""Version of what is made of a job. It is part of the keys: a kon that makes videos otherwise stores them
elsewhere."""

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


class Rules(msgspec.Struct, frozen=True):
    """When an image is taken, and when a job has failed.

    max_megapixels: of one image. min_images: with fewer good ones the job fails. refresh: a job that has been
    done is done again.
    """

    max_megapixels: float = 120.0
    min_images: int = 1
    url_expires_s: float = 600.0
    refresh: bool = False


class Note(msgspec.Struct, frozen=True):
    """What was made of a job, and of what. Stored where whoever has the same job looks first.

    result: without the link to the video. marks: by link, what told its content from any later one.
    """

    result: dict[str, Any]
    marks: dict[str, str]


class Skipped(msgspec.Struct, frozen=True):
    """An image that is not in the video. image: its place among the links, from 1."""

    image: int
    link: str
    reason: str


class Studio:
    """Makes videos of jobs, several at once if need be; for one worker. Make it in the running loop."""

    def __init__(
        self,
        film: Film,
        rules: Rules,
        objects: ObjectStore,
        fetcher: Fetcher,
        guard: Guard,
        crew: Crew,
        base: str | None = None,
        place: str = "",
    ) -> None:
        """`base`: what relative links are relative to; `place`: the folder whose images that serves.

        Raises ConfigurationError for a look that can't be.
        """
        self.rules = rules
        self._place = place
        self._base = base
        self._film = film
        self._objects = objects
        self._fetcher = fetcher
        self._guard = guard
        self._crew = crew
        check_encoders(film.format)
        Captions(film)

    async def make(self, job: Job) -> dict[str, Any]:
        """The result, with a link to the video. Raises KindError when too few images are good.

        Cancelled, it leaves no file and no thread at work behind.
        """
        film = film_for(job, self._film)
        check_encoders(film.format)
        note_key = key_of(film, (job, self._place), "json")
        async with working_folder("animoto") as folder:
            done = None if self.rules.refresh else await self._done(note_key, folder / "done.json")
            if done is None:
                done = await self._film_job(job, film, note_key, folder)
        expires_s = self.rules.url_expires_s
        url, until_s = await self._objects.signed(done["key"], expires_s)
        urls: dict[str, Any] = {"url": url, "url_expires_s": expires_s}
        if until_s is not None:
            urls["url_until_s"] = until_s
        if "poster_key" in done:
            urls["poster_url"] = await self._objects.url(done["poster_key"], expires_s)
        return {**done, **urls}

    async def _done(self, note_key: str, file: Path) -> dict[str, Any] | None:
        """The result of the same job, where it has been done before, and its links lead to the same still."""
        try:
            await self._objects.get(note_key, file)
            note = msgspec.json.decode(await self._crew.do(file.read_bytes), type=Note)
            for key in ("key", "poster_key"):
                if key in note.result:
                    await self._objects.size_bytes(note.result[key])
        except KeyError:
            return None
        if not await self._same(note.marks):
            return None
        return {**note.result, "uploaded": False}

    async def _same(self, marks: Mapping[str, str]) -> bool:
        """Whether each link leads to what it led to. One that nothing tells from others counts as changed."""
        if not all(marks.values()):
            return False

        async def changed(link: str, mark: str) -> bool:
            try:
                return await self._fetcher.mark(self._absolute(link)) != mark
            except BadLink:  # gone, or its server does not answer a HEAD: to make the video again shows which
                return True

        looks = [asyncio.create_task(changed(link, mark)) for link, mark in marks.items()]
        try:
            for look in asyncio.as_completed(looks):
                if await look:
                    return False
            return True
        finally:
            for each in looks:
                each.cancel()
            await _ended(tuple(looks))

    async def _film_job(self, job: Job, film: Film, note_key: str, folder: Path) -> dict[str, Any]:
        video, times = folder / f"video.{film.format}", Times(film, job)
        encoder = await self._crew.do(make_encoder, video, film, times)
        try:
            cards = (
                card_of(film, number).image for number in times.numbers if number not in range(len(job.links))
            )
            images = [*range(len(job.links)), *(image for image in cards if image is not None)]
            links = [job.links[image].strip() for image in images]
            once = FetchOnce(self._fetcher, self._absolute, links, self._crew, folder)
            filming = _Filming(job, film, times, self, encoder, once)
            duration_s = await filming.run()
        finally:
            await self._crew.do(encoder.close)
        size_bytes = await self._crew.do(lambda: video.stat().st_size)
        key = key_of(film, (made_of(job), filming.contents()), film.format)
        done: dict[str, Any] = {
            "key": key,
            "duration_s": duration_s,
            "width": film.width,
            "height": film.height,
            "fps": int(film.rate) if film.rate.denominator == 1 else str(film.rate),
            "repeat": way_of(film, times),
            "size_bytes": size_bytes,
            "images": len(job.links) - len(filming.skipped),
            "skipped": msgspec.to_builtins(filming.skipped[:MOST_LISTED]),
            "skipped_images": len(filming.skipped),
        }
        if filming.warnings:
            done["warnings"] = [
                {"image": number + 1, "reason": reason} for number, reason in sorted(filming.warnings.items())
            ][:MOST_LISTED]
        if filming.card_warnings:
            done["card_warnings"] = filming.card_warnings
        if encoder.damaged_s:
            done["audio_damaged_s"] = round(encoder.damaged_s, 3)
        uploaded = self.rules.refresh or not await self._has(key, size_bytes)
        if uploaded:
            await self._objects.put(key, video)
        if film.poster is not None:
            done["poster_key"] = f"{key.rpartition('.')[0]}.{_SUFFIXES[film.poster]}"
            poster = folder / f"poster.{_SUFFIXES[film.poster]}"
            await self._crew.do(_write_poster, encoder, poster, film.poster)
            await self._objects.put(done["poster_key"], poster)
        if not filming.skipped:  # what was not there today may be tomorrow: then the job is done again
            note = folder / "note.json"
            marks = {link.strip(): filming.marks[link] for link in filming.marks}
            await self._crew.do(note.write_bytes, msgspec.json.encode(Note(done, marks)))
            await self._objects.put(note_key, note)
        return {**done, "uploaded": uploaded}

    def _absolute(self, link: str) -> str:
        return self._guard.absolute(link, self._base)

    async def _has(self, key: str, size_bytes: int) -> bool:
        """Whether the very video is stored, made by a job of the same images by other links."""
        try:
            return await self._objects.size_bytes(key) == size_bytes
        except KeyError:
            return False

    async def prepared(self, job: Job, number: int, filming: _Filming) -> Any:
        """One picture, as its encoder takes it. Raises BadLink, BadImage among it, for an image."""
        if number == TITLE or number == len(job.links):
            return await self._card(number, filming)

        def prepare(data: bytes, header: Header) -> tuple[Any, str]:
            caption = job.captions[number] if job.captions else ""
            focus = job.focus[number] if job.focus else filming.film.focus
            return self._prepare(data, header, caption, focus, filming)

        prepared, wrong = await self._decoded(number, number, filming, prepare)
        if wrong:
            filming.warnings[number] = f"its caption: {wrong}"
        return prepared

    async def _card(self, number: int, filming: _Filming) -> Any:
        """A card. One whose image can't be had stands on the background's colour, and the result says so."""
        card, wrong = card_of(filming.film, number), []
        made: tuple[Any, str] | None = None
        if card.image is not None:

            def on_image(data: bytes, header: Header) -> tuple[Any, str]:
                return self._lettered(behind(filming.covering.decode(data, header)), card.text, filming)

            try:
                made = await self._decoded(number, card.image, filming, on_image)
            except BadLink as error:
                wrong.append(f"image {card.image + 1} is not behind it: {error}")
        if made is None:
            await filming.turn(number)
            made = await self._crew.do(
                lambda: self._lettered(plain(filming.film, card.background), card.text, filming)
            )
        if made[1]:
            wrong.append(made[1])
        if wrong:
            filming.card_warnings[card.name] = "; ".join(wrong)
        return made[0]

    async def _decoded(
        self, number: int, image: int, filming: _Filming, prepare: Callable[[bytes, Header], Any]
    ) -> Any:
        """What `prepare` makes of an image, in a thread. number: of the picture that it is for."""
        async with filming.room.image(number):
            link = filming.job.links[image].strip()
            fetched = await filming.once.image(link, lambda size: filming.room.hold(number, size))
            data = fetched.data
            filming.has(image, link, fetched)
            header = read_header(data)
            self._check(header, filming.decoder)
            await filming.turn(number)
            async with filming.decoding.image(number):
                # libavcodec copies a packet, and then once more what it reads of it
                takes_bytes = filming.decoder.decoded_bytes(header) + 2 * len(data)
                await filming.decoding.hold(number, takes_bytes)
                if filming.film.still or takes_bytes < LARGE_BYTES:
                    return await self._crew.do(prepare, data, header)
                async with filming.heavy:
                    await self._crew.do(give_back_all)
                    made = await self._crew.do(prepare, data, header)
                    await self._crew.do(give_back_all)
                    return made

    def _check(self, header: Header, decoder: Decoder) -> None:
        megapixels = header.width * header.height / 1e6
        size = f"its header says {header.width} x {header.height} pixels"
        if megapixels > self.rules.max_megapixels:
            most = self.rules.max_megapixels
            raise BadImage(f"{size}, {megapixels:.1f} megapixels; the option max_megapixels allows {most:g}")
        takes_bytes = decoder.decoded_bytes(header)
        if takes_bytes > DECODING_BYTES:
            raise BadImage(
                f"{size}, which as {header.type} takes {takes_bytes / 1e6:.0f} MB to decode; "
                f"{DECODING_BYTES / 1e6:.0f} are allowed"
            )

    def _prepare(
        self, data: bytes, header: Header, caption: str, focus: Place, filming: _Filming
    ) -> tuple[Any, str]:
        """What the encoder makes of an image; and what is wrong with its caption, empty for nothing."""
        frame, place = filming.decoder.framed(data, header, focus)
        if not caption.strip():
            return filming.encoder.prepare(frame, None, place), ""
        overlay, wrong = filming.captions.drawn(caption)
        return filming.encoder.prepare(frame, overlay, place), wrong

    def _lettered(self, frame: av.VideoFrame, text: str, filming: _Filming) -> tuple[Any, str]:
        """What the encoder makes of a card; and what is wrong with its text."""
        overlay, wrong = filming.lettering.drawn(text)
        return filming.encoder.prepare(frame, overlay, None), wrong

    async def sound(self, job: Job, filming: _Filming) -> bytes | None:
        """Raises KindError: a video without its sound is not what was asked for."""
        if job.audio is None:
            return None
        try:
            fetched = await self._fetcher.sound(self._absolute(job.audio))
        except BadLink as error:
            raise KindError(f"the audio can't be had: {error}") from error
        filming.has(_SOUND, job.audio, fetched)
        return fetched.data

    async def do(self, work: Callable[..., Any], *args: Any) -> Any:
        return await self._crew.do(work, *args)

    def check_enough(self, job: Job, skipped: list[Skipped]) -> None:
        """Raises KindError, with the reasons, when too few images are left."""
        good = len(job.links) - len(skipped)
        if good >= self.rules.min_images:
            return
        first = "; ".join(f"image {each.image}: {each.reason}" for each in skipped[:3])
        more = f"; and {len(skipped) - 3} more" if len(skipped) > 3 else ""
        raise KindError(
            f"only {good} of {len(job.links)} images are good, and min_images asks for "
            f"{self.rules.min_images}: {first}{more}",
            {"skipped": msgspec.to_builtins(skipped[:MOST_LISTED]), "skipped_images": len(skipped)},
        )


class _Filming:
    """The state of one job."""

    def __init__(
        self, job: Job, film: Film, times: Times, studio: Studio, encoder: Encoder, once: FetchOnce
    ) -> None:
        self.encoder = encoder
        self.once = once
        self.job = job
        self.film = film
        self.decoder = Decoder(film)
        self.covering = Decoder(msgspec.structs.replace(film, fit="crop"))
        """For images behind cards, which have no bars."""
        self.captions = Captions(film)
        self.lettering = Captions(film, of_cards(film))
        self._times = times
        self.heavy = asyncio.Lock()
        """Held while a large image is decoded, or frames are encoded: not both take their memory at once."""
        self.skipped: list[Skipped] = []
        self.room = Room(FETCHED_BYTES)
        self.decoding = Room(DECODING_BYTES, first_waits=True)
        self._studio = studio
        self._taken = 0
        self._moved = asyncio.Condition()
        self._digests: dict[int, str] = {}
        self.warnings: dict[int, str] = {}
        """By the place of its image, what is not as it was asked for."""
        self.card_warnings: dict[str, str] = {}
        """By the option of the card, what is not as it was asked for."""
        self.marks: dict[str, str] = {}
        """By link, what tells its content from any later one."""

    def has(self, number: int, link: str, fetched: Fetched) -> None:
        """Note what a link led to. number: the place of its image, or `_SOUND`."""
        self._digests[number] = hashlib.sha256(fetched.data).hexdigest()
        self.marks[link] = fetched.mark

    def contents(self) -> list[str]:
        """Digests of what the video is made of, in order; empty for an image that was left out."""
        left_out = {skipped.image - 1 for skipped in self.skipped}
        images = range(len(self.job.links))
        found = ["" if number in left_out else self._digests[number] for number in images]
        return [*found, self._digests.get(_SOUND, "")]

    async def run(self) -> float:
        """The duration of the video, in seconds."""
        studio, job, numbers = self._studio, self.job, self._times.numbers
        pictures = [asyncio.create_task(studio.prepared(job, number, self)) for number in numbers]
        sound = asyncio.create_task(studio.sound(job, self))
        try:
            for number, picture in zip(numbers, pictures, strict=True):
                try:
                    prepared = await picture
                    async with self.heavy:
                        await studio.do(self.encoder.add, prepared, number)
                except BadLink as error:
                    self.skipped.append(Skipped(number + 1, job.links[number][:300], str(error)))
                    # a job that has failed already need not go on
                    if len(self.skipped) > len(job.links) - studio.rules.min_images:
                        break
                async with self._moved:
                    self._taken = number + 1
                    self._moved.notify_all()
            studio.check_enough(job, self.skipped)
            duration_s: float = await studio.do(self.encoder.finish, await sound)
            return duration_s
        finally:
            self.encoder.stop()
            for task in (*pictures, sound):
                task.cancel()
            await _ended((*pictures, sound))

    async def turn(self, number: int) -> None:
        """Wait until the encoder wants this picture prepared."""
        ahead = self.encoder.ahead
        if ahead is not None:
            async with self._moved:
                await self._moved.wait_for(lambda: number < self._taken + ahead)


async def _ended(tasks: tuple[asyncio.Task[Any], ...]) -> None:
    """Return when all have ended, cancelled meanwhile or not."""
    cancelled = False
    while not all(task.done() for task in tasks):
        try:
            await asyncio.wait(tasks)
        except asyncio.CancelledError:
            cancelled = True
    for task in tasks:
        with contextlib.suppress(asyncio.CancelledError, Exception):
            task.exception()  # looked at, so that asyncio does not complain
    if cancelled:
        raise asyncio.CancelledError


_SUFFIXES: Final = {"jpeg": "jpg", "png": "png"}
_POSTER_QUALITY: Final = 90


def _write_poster(encoder: Encoder, path: Path, form: str) -> None:
    """The first picture, with its caption, as a file."""
    assert encoder.first is not None, "the film wants a poster"
    planes, caption, _ = encoder.first
    image = rgb_of(planes if caption is None else caption.over(planes))
    image.save(path, form.upper(), quality=_POSTER_QUALITY, optimize=True)


def made_of(job: Job) -> Job:
    """What of a job decides its video next to its look and to what its links led to."""
    return msgspec.structs.replace(job, links=(), audio=None, look={})


def key_of(film: Film, of: object, suffix: str) -> str:
    """Where something is stored: a function of what it is made of and how."""
    said = msgspec.json.encode((VERSION, film, of), order="sorted")
    return f"animoto/{hashlib.sha256(said).hexdigest()[:32]}.{suffix}"
