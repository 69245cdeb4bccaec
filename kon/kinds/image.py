"""`image`: makes of a picture in the store another: equalized, brought to size, or both."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal

import msgspec

from kon.core.errors import ConfigurationError, KindError, describe
from kon.core.kind import Attempt
from kon.core.objects import ObjectStore
from kon.core.options import Given, OptionError, Options, read_options
from kon.core.scratch import working_folder
from kon.kinds.recipe import Recipe
from kon.kinds.stored import AtLeast1, OutputKey, TakesObjects, check_installed, fetch, input_key

if TYPE_CHECKING:  # it takes a while to import, and whoever only checks an experiment does without
    from kon.kinds.pictures.crew import Crew


_MEGAPIXELS: Final = msgspec.Meta(ge=0.001, le=89)
"""More megapixels would take more than a gigabyte: a picture here is decoded whole."""


class ImageOptions(Options, frozen=True, kw_only=True):
    """Options of `image`.

    equalize: `global` spreads the levels of the whole picture evenly; `clahe` does it tile by tile, with
        limited contrast.
    channels: in coloured pictures, equalize the `luminance`, or `each` colour by itself, which shifts hues.
    tiles: how many tiles `clahe` takes, across and down.
    clip: the most that `clahe` lets a level count, as a multiple of the mean.
    resize: the new size, as WIDTHxHEIGHT; WIDTHx or xHEIGHT keep the proportions.
    thumbnail: the size to fit into, as WIDTHxHEIGHT.
    format: jpeg, png or webp; null for the format of the input.
    quality: the quality of jpeg and webp, 1 to 100.
    key: where the result is stored, with placeholders for the item; null for `image/RUN/NUMBER.SUFFIX`.
    max_bytes: the size of the largest input, as a file.
    max_megapixels: the size of the largest input, in pixels, as its header says.
    """

    equalize: Literal["global", "clahe"] | None = None
    channels: Literal["luminance", "each"] = "luminance"
    tiles: tuple[int, int] = (8, 8)
    clip: Annotated[float, msgspec.Meta(ge=1)] = 2.0
    resize: str | None = None
    thumbnail: str | None = None
    format: Literal["jpeg", "png", "webp"] | None = None
    quality: Annotated[int, msgspec.Meta(ge=1, le=100)] = 90
    key: Given | None = None
    max_bytes: AtLeast1 = 50_000_000
    max_megapixels: Annotated[float, _MEGAPIXELS] = 50.0


_SIZE: Final = re.compile(r"([1-9]\d{0,4})?x([1-9]\d{0,4})?")
_MOST_TILES: Final = 64


class Image(TakesObjects):
    """Makes a picture of a picture: equalized, resized, in another format.

    The body is the key of a picture, of any type that `kon.kinds.pictures.header` knows."""

    name: ClassVar[str] = "image"
    takes = ImageOptions

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = read_options(f"kind {self.name}", options, ImageOptions)
        check_installed(self.name, {"PIL": "pillow"})
        self._recipe = _recipe(self._options)
        self._key = OutputKey(self.name, self._options.key)
        self._objects: ObjectStore | None = None
        self._crew: Crew | None = None

    async def open(self, objects: ObjectStore) -> None:
        from kon.kinds.pictures.crew import Crew

        self._objects, self._crew = objects, Crew(self._options.slots)

    async def execute(self, body: Any, attempt: Attempt) -> Any:
        """Raises KindError where the object is not there, or is no picture that can be used."""
        from kon.kinds.picture import SUFFIXES, make
        from kon.kinds.web.limits import BadLink

        assert self._objects is not None, "open comes first"
        assert self._crew is not None
        source = input_key(body)
        async with working_folder(self.name) as folder:
            await fetch(self._objects, source, folder / "input", self._options.max_bytes)
            try:
                made = await self._crew.do(lambda: make((folder / "input").read_bytes(), self._recipe))
            except BadLink as error:
                raise KindError(f'the object "{source}": {error}') from error
            key = self._key.of(source, attempt, SUFFIXES[made.format])
            try:
                await self._crew.do((folder / "output").write_bytes, made.data)
            except OSError as error:
                raise KindError(f"the result can't be written to {folder}: {error.strerror}") from error
            await self._objects.put(key, folder / "output")
        return {
            "key": key,
            "from": source,
            "format": made.format,
            "width": made.width,
            "height": made.height,
            "size_bytes": len(made.data),
        }

    async def close(self) -> None:
        if self._crew is not None:
            await self._crew.close()
            self._crew = None


def _recipe(options: ImageOptions) -> Recipe:
    """Raises ConfigurationError for what can't be."""

    def wrong(name: str, expected: str) -> OptionError:
        value = getattr(options, name)
        found = describe(list(value) if isinstance(value, tuple) else value)
        return OptionError(f'option "{name}" of kind image: expected {expected}, found {found}', name)

    if not all(1 <= each <= _MOST_TILES for each in options.tiles):
        raise wrong("tiles", f"two numbers from 1 to {_MOST_TILES}, across and down")
    if options.resize is not None and options.thumbnail is not None:
        raise OptionError(
            "the options of kind image: resize and thumbnail: leave out one of them", "thumbnail"
        )
    resize = None if options.resize is None else _size(options.resize)
    if options.resize is not None and (resize is None or resize == (None, None)):
        raise wrong("resize", "WIDTHxHEIGHT, WIDTHx or xHEIGHT such as 800x600")
    within = None if options.thumbnail is None else _size(options.thumbnail)
    thumbnail = None
    if options.thumbnail is not None:
        match within:
            case (int(across), int(down)):
                thumbnail = (across, down)
            case _:
                raise wrong("thumbnail", "WIDTHxHEIGHT such as 256x256")
    if not (resize or thumbnail or options.equalize or options.format):
        raise ConfigurationError(
            "the options of kind image: say what to do: at least one of equalize, resize, thumbnail, format"
        )
    given = {
        name: getattr(options, name)
        for name in Recipe.__struct_fields__
        if name not in ("resize", "thumbnail")
    }
    return Recipe(resize=resize, thumbnail=thumbnail, **given)


def _size(text: str) -> tuple[int | None, int | None] | None:
    found = _SIZE.fullmatch(text)
    if found is None:
        return None
    return (int(found[1]) if found[1] else None), (int(found[2]) if found[2] else None)
