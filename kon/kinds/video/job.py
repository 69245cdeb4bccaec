"""One job: links in, a video in the object store out.

All steps overlap. Each image goes its own way, fetched, decoded and prepared as soon as a connection and a
thread are free for it; then the pictures are taken in order, and the file is written and stored.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from kon.core.objects import ObjectStore
from kon.core.scratch import working_folder
from kon.kinds.pictures.crew import Crew
from kon.kinds.video.caption import Captions, card_of
from kon.kinds.video.encode import Encoder, FrameEncoder, GifEncoder
from kon.kinds.video.fetch import Fetcher, FetchOnce
from kon.kinds.video.film import Film
from kon.kinds.video.filming import MOST_LISTED, Filming, JobRules
from kon.kinds.video.fonts import Fonts
from kon.kinds.video.jobfile import VideoJob, film_for
from kon.kinds.video.notes import DoneJobs, Note, key_of, made_of
from kon.kinds.video.planes import rgb_of
from kon.kinds.video.skip import SkipEncoder
from kon.kinds.video.times import Times, way_of
from kon.kinds.video.videofile import check_encoders

_SUFFIXES: Final = {"jpeg": "jpg", "png": "png"}


class Studio:
    """Makes videos of jobs, several at once if need be; for one worker. Make it in the running loop."""

    def __init__(
        self,
        film: Film,
        rules: JobRules,
        objects: ObjectStore,
        fetcher: Fetcher,
        absolute: Callable[[str], str],
        crew: Crew,
        place: str = "",
    ) -> None:
        """absolute: makes a link one that can be fetched, or raises BadLink. place: the folder whose images
        relative links mean.

        Raises ConfigurationError for a look that can't be.
        """
        self._rules = rules
        self._place = place
        self._film = film
        self._objects = objects
        self._fetcher = fetcher
        self._absolute = absolute
        self._crew = crew
        self._done_jobs = DoneJobs(objects, fetcher, crew, absolute)
        check_encoders(film.format)
        Captions(film)

    async def make(self, job: VideoJob) -> dict[str, Any]:
        """The result, with a link to the video. Raises KindError when too few images are good.

        Cancelled, it leaves no file and no thread at work behind.
        """
        film = film_for(job, self._film)
        check_encoders(film.format)
        fonts = await self._crew.do(_fonts_of, job, film)
        note_key = key_of(film, (job, self._place), "json", fonts)
        async with working_folder("animoto") as folder:
            done = (
                None if self._rules.refresh else await self._done_jobs.result(note_key, folder / "done.json")
            )
            if done is None:
                done = await self._film_job(job, film, fonts, note_key, folder)
            else:
                done = {**done, "uploaded": False}
        return {**done, **await self._links_to(done)}

    async def _links_to(self, done: dict[str, Any]) -> dict[str, Any]:
        expires_s = self._rules.url_expires_s
        urls: dict[str, Any] = {"url_expires_s": expires_s}
        for key, name in (("key", "url"), ("poster_key", "poster_url")):
            if key in done:
                urls[name], until_s = await self._objects.signed(done[key], expires_s)
                if until_s is not None:
                    urls[f"{name}_until_s"] = until_s
        return urls

    async def _film_job(
        self, job: VideoJob, film: Film, fonts: list[str], note_key: str, folder: Path
    ) -> dict[str, Any]:
        video, times = folder / f"video.{film.format}", Times(film, job)
        encoder = await self._crew.do(make_encoder, video, film, times)
        try:
            once = FetchOnce(self._fetcher, self._absolute, _all_links(job, film, times), self._crew, folder)
            filming = Filming(job, film, times, self._rules, self._crew, encoder, once)
            duration_s = await filming.run(self._fetcher, self._absolute)
        finally:
            await self._crew.do(encoder.close)
        size_bytes = await self._crew.do(lambda: video.stat().st_size)
        key = key_of(film, (made_of(job), filming.contents()), film.format, fonts)
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
        uploaded = self._rules.refresh or not await self._has(key, size_bytes)
        if uploaded:
            await self._objects.put(key, video)
        if film.poster is not None:
            done["poster_key"] = f"{key.rpartition('.')[0]}.{_SUFFIXES[film.poster]}"
            poster = folder / f"poster.{_SUFFIXES[film.poster]}"
            await self._crew.do(_write_poster, encoder, poster, film.poster)
            await self._objects.put(done["poster_key"], poster)
        if not filming.skipped:  # what was not there today may be tomorrow: then the job is done again
            marks = {link.strip(): mark for link, mark in filming.marks.items()}
            await self._done_jobs.write(note_key, Note(done, marks), folder / "note.json")
        return {**done, "uploaded": uploaded}

    async def _has(self, key: str, size_bytes: int) -> bool:
        """Whether the very video is stored, made by a job of the same images by other links."""
        try:
            return await self._objects.size_bytes(key) == size_bytes
        except KeyError:
            return False


def _all_links(job: VideoJob, film: Film, times: Times) -> list[str]:
    """Those of the images, and of the images behind cards."""
    images = range(len(job.links))
    cards = (card_of(film, number).image for number in times.numbers if number not in images)
    return [job.links[image].strip() for image in (*images, *(image for image in cards if image is not None))]


def _fonts_of(job: VideoJob, film: Film) -> list[str]:
    """Digests of the fonts of all texts. A system's font may change, and another host's may be another."""
    texts = [*job.captions, film.title, film.end]
    return Fonts(film.caption_font).digests(text for text in texts if text.strip())


_POSTER_QUALITY: Final = 90


def _write_poster(encoder: Encoder, path: Path, form: str) -> None:
    """The first picture, with its caption, as a file."""
    assert encoder.first is not None, "the film wants a poster"
    planes, caption, _ = encoder.first
    image = rgb_of(planes if caption is None else caption.over(planes))
    image.save(path, form.upper(), quality=_POSTER_QUALITY, optimize=True)


def make_encoder(path: Path, film: Film, times: Times) -> Encoder:
    if film.format == "gif":
        return GifEncoder(path, film, times)
    return (SkipEncoder if way_of(film, times) == "skip" else FrameEncoder)(path, film, times)
