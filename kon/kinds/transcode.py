"""`transcode`: has ffmpeg make of one object of the store another."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final

import msgspec

from kon.core.errors import ConfigurationError, KindError, describe
from kon.core.kind import Attempt
from kon.core.objects import ObjectStore
from kon.core.options import Given, OptionError, Options, read_options
from kon.core.scratch import working_folder
from kon.kinds.command import fill
from kon.kinds.spawn import Finished, Spawner, ending
from kon.kinds.stored import AtLeast1, OutputKey, TakesObjects, fetch, input_key

FORMATS: Final = (
    *("aac", "aiff", "amr", "asf", "au", "avi", "caf", "dv", "flac", "flv", "gif", "h264", "hevc", "ivf"),
    *("jpeg_pipe", "matroska", "mov", "mp3", "mpeg", "mpegts", "mpegvideo", "mxf", "nut", "ogg", "png_pipe"),
    *("wav", "webp_pipe"),
)
"""Demuxers that read the file that they are given and nothing else. Playlists (hls, concat, dash) are not
among them: such a file, sent in by anybody, would have ffmpeg open others."""


class TranscodeOptions(Options, frozen=True, kw_only=True):
    """Options of `transcode`.

    to: the suffix of the output, such as mp4, by which ffmpeg knows its format.
    args: ffmpeg's arguments before the output; a list, or text with words as in a shell, with placeholders
        for the item.
    input_args: ffmpeg's arguments before the input, written in the same way.
    key: where the output is stored, with placeholders for the item; null for `transcode/RUN/NUMBER.SUFFIX`.
    formats: formats that ffmpeg may read, by the names of its demuxers.
    ffmpeg: the program. max_bytes: the size of the largest input.
    kill_grace_s: seconds between SIGTERM and SIGKILL when it is stopped.
    """

    to: str
    args: str | list[str | int | float] = msgspec.field(default_factory=list)
    input_args: str | list[str | int | float] = msgspec.field(default_factory=list)
    key: Given | None = None
    formats: list[str] = msgspec.field(default_factory=lambda: list(FORMATS))
    ffmpeg: Given = "ffmpeg"
    max_bytes: AtLeast1 = 10_000_000_000
    kill_grace_s: Annotated[float, msgspec.Meta(ge=0)] = 2.0


_SUFFIX: Final = re.compile(r"[A-Za-z0-9]{1,8}")
_FORMAT: Final = re.compile(r"[a-z0-9_]+")
_OUTPUT_BYTES: Final = 16_384
_LONGEST_LINE: Final = 300


class Transcode(TakesObjects):
    """Has ffmpeg make another object of an object of the store.

    The body is the key of an object."""

    name: ClassVar[str] = "transcode"
    takes = TranscodeOptions

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = read_options(f"kind {self.name}", options, TranscodeOptions)
        if not _SUFFIX.fullmatch(self._options.to):
            found = describe(self._options.to)
            raise OptionError(
                f'option "to" of kind transcode: expected a suffix such as mp4, found {found}',
                "to",
            )
        for name in self._options.formats or [""]:
            if not _FORMAT.fullmatch(name):
                raise OptionError(
                    f'option "formats" of kind transcode: expected names of demuxers such as mov, '
                    f"found {describe(name)}",
                    "formats",
                )
        self._args = _words("args", self._options.args)
        self._input_args = _words("input_args", self._options.input_args)
        self._key = OutputKey(self.name, self._options.key)
        self._objects: ObjectStore | None = None

    async def open(self, objects: ObjectStore) -> None:
        """Raises ConfigurationError where there is no ffmpeg."""
        if shutil.which(self._options.ffmpeg) is None:
            raise ConfigurationError(
                f'the kind transcode needs "{self._options.ffmpeg}", and there is no such program on PATH '
                f"({os.environ.get('PATH', os.defpath)}). Install ffmpeg on every host with workers, or name "
                'it in the option "ffmpeg"'
            )
        self._objects = objects

    async def execute(self, body: Any, attempt: Attempt) -> Any:
        """Raises KindError where the object is not there, or ffmpeg can't make anything of it."""
        assert self._objects is not None, "open comes first"
        source = input_key(body)
        key = self._key.of(source, attempt, self._options.to)
        async with working_folder(self.name) as folder:
            given = folder / f"input{_suffix_of(source)}"
            input_bytes = await fetch(self._objects, source, given, self._options.max_bytes)
            made = folder / f"output.{self._options.to}"
            argv = self._argv(given, made, source, attempt.index + 1)
            said = await self._run(argv, folder, source)
            size_bytes = made.stat().st_size if made.is_file() else 0
            if not size_bytes:
                raise KindError(f'ffmpeg has ended well, but made nothing of "{source}"', {"stderr": said})
            await self._objects.put(key, made)
        result = {"key": key, "from": source, "input_bytes": input_bytes, "size_bytes": size_bytes}
        return {**result, "stderr": said} if said else result

    def _argv(self, given: Path, made: Path, item: str, number: int) -> list[str]:
        def filled(words: list[str]) -> list[str]:
            return [fill(word, item, number) for word in words]

        return [
            *(self._options.ffmpeg, "-nostdin", "-hide_banner", "-loglevel", "error", "-y", "-xerror"),
            *("-protocol_whitelist", "file", "-format_whitelist", ",".join(self._options.formats)),
            *filled(self._input_args),
            *("-i", f"file:{given}"),
            *filled(self._args),
            f"file:{made}",
        ]

    async def _run(self, argv: list[str], folder: Path, source: str) -> str:
        """What it wrote. Raises KindError where it did not end well."""
        spawner = Spawner(
            cwd=str(folder), max_output_bytes=_OUTPUT_BYTES, kill_grace_s=self._options.kill_grace_s
        )
        try:
            finished = await spawner.run(argv, dict(os.environb))
        except OSError as error:
            raise KindError(f'can\'t start "{argv[0]:.200}": {error.strerror}') from error
        finally:
            spawner.close()
        said = finished.stderr.text().text.replace(f"file:{folder}/", "")
        if finished.code != 0:
            raise KindError(_failure(source, finished, said), {"exit": finished.code, "stderr": said})
        return said


def _words(name: str, given: str | list[str | int | float]) -> list[str]:
    """Raises ConfigurationError."""
    try:
        words = shlex.split(given) if isinstance(given, str) else [str(word) for word in given]
    except ValueError as error:
        raise OptionError(f'option "{name}" of kind transcode: {error}', name) from error
    if any("\0" in word for word in words):
        raise OptionError(f'option "{name}" of kind transcode: no text may hold a NUL character', name)
    return words


def _suffix_of(key: str) -> str:
    """For the few formats that ffmpeg tells by their names. The rest of a key may hold anything."""
    suffix = key.rpartition("/")[2].rpartition(".")[2]
    return f".{suffix}" if _SUFFIX.fullmatch(suffix) else ""


def _failure(source: str, finished: Finished, said: str) -> str:
    lines = said.strip().splitlines()
    last = f": {lines[-1].strip()[:_LONGEST_LINE]}" if lines else ""
    return f'ffmpeg could not transcode "{source}", {ending(finished.code)}{last}'
