"""Files staged for a command: objects of the store as its inputs, and what it makes as new objects."""

from __future__ import annotations

import asyncio
import glob
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from kon.core.errors import ConfigurationError, KindError
from kon.core.kind import Attempt
from kon.core.objects import ObjectStore, check_key
from kon.core.options import OptionError
from kon.kinds.command import fill, placeholders, tells_apart
from kon.kinds.stored import fetch

_NUMBER: Final = "{#}"
_GLOB: Final = frozenset("*?[")


class Staging:
    """What one workload's tasks take and give. Names, keys and globs are templates for the item."""

    def __init__(
        self,
        kind: str,
        inputs: Mapping[str, str] | Sequence[str],
        outputs: Mapping[str, str] | Sequence[str],
    ) -> None:
        """inputs: names of files in the working folder, with the keys of the objects that they are copies of;
        or keys alone, whose last parts are the names.
        outputs: names or globs there, with the keys under which they are stored; or alone: then the key is
        made of the run, the task's index and the name. To a key that ends with a slash the name is added.

        Raises ConfigurationError for an output that all tasks would store under the same key.
        """
        self._kind = kind
        self._inputs: Sequence[tuple[str | None, str]] = (
            list(inputs.items()) if isinstance(inputs, Mapping) else [(None, key) for key in inputs]
        )
        self._outputs: Mapping[str, str | None] = (
            dict(outputs) if isinstance(outputs, Mapping) else dict.fromkeys(outputs)
        )
        for name, key in self._outputs.items():
            if key is None:
                continue
            if not placeholders(key + name if key.endswith("/") else key):
                raise OptionError(
                    f'option "outputs" of kind {kind}: the key {key!r} of {name!r} is the same for all '
                    "tasks; put a placeholder for the item or the task's number into it, such as {} or {#}",
                    "outputs",
                    name,
                )
            if _is_glob(name) and not key.endswith("/"):
                raise OptionError(
                    f'option "outputs" of kind {kind}: {name!r} may match several files, and {key!r} is one '
                    "key; end it with a slash, and their names are added",
                    "outputs",
                    name,
                )

    def __bool__(self) -> bool:
        """Whether there is anything to be staged."""
        return bool(self._inputs or self._outputs)

    def check(self, item: str | None) -> None:
        """Raises ConfigurationError where a task with this item can't be staged."""
        attempt = Attempt(run="run", index=0, number=1)
        keys = {key for _, key in self._each_input(item, attempt)}
        for name, key in self._outputs.items():
            stored = self._output_key(key, item, attempt, _plain(_filled(name, item, attempt), "output"))
            if stored in keys:
                raise ConfigurationError(
                    f'the output "{name}" would replace the input "{stored}", which a repeat would then take'
                )

    def shared_keys(self, item: str | None) -> list[str]:
        """Keys of outputs that another item's task may have too. What a glob matches nobody knows before."""
        attempt = Attempt(run="run", index=0, number=1)
        found = []
        for name, key in self._outputs.items():
            if key is None or _is_glob(name) or tells_apart(key + name if key.endswith("/") else key):
                continue
            found.append(self._output_key(key, item, attempt, _filled(name, item, attempt)))
        return found

    async def fetch(self, objects: ObjectStore, folder: Path, item: str | None, attempt: Attempt) -> None:
        """Put the inputs into the folder. Raises KindError where one can't be had."""
        for name, key in self._each_input(item, attempt):
            file = folder / name
            try:
                await asyncio.to_thread(file.parent.mkdir, parents=True, exist_ok=True)
            except OSError as error:
                raise KindError(f'no folder can be made for the input "{name}": {error.strerror}') from error
            await fetch(objects, key, file)

    async def store(
        self, objects: ObjectStore, folder: Path, item: str | None, attempt: Attempt
    ) -> list[dict[str, Any]]:
        """Store the outputs; each with its name, key and size. Raises KindError where one is missing: then
        nothing is stored."""
        inputs = {name for name, _ in self._each_input(item, attempt)}
        found: dict[str, tuple[Path, int]] = {}
        for template, key in self._outputs.items():
            names = await asyncio.to_thread(_matching, folder, template, item, attempt, inputs)
            for name, size_bytes in names.items():
                found[self._output_key(key, item, attempt, name)] = (folder / name, size_bytes)
        for stored, (file, _) in found.items():
            await objects.put(stored, file)
        return [
            {"name": file.relative_to(folder).as_posix(), "key": stored, "size_bytes": size_bytes}
            for stored, (file, size_bytes) in found.items()
        ]

    def _each_input(self, item: str | None, attempt: Attempt) -> Iterator[tuple[str, str]]:
        """Names and keys. Raises ConfigurationError."""
        seen = set()
        for template, key_template in self._inputs:
            key = check_key(_filled(key_template, item, attempt))
            name = (
                key.rpartition("/")[2]
                if template is None
                else _plain(_filled(template, item, attempt), "input")
            )
            if name in seen:
                raise ConfigurationError(
                    f'two inputs would have the name "{name}" in the working folder; write `inputs` as a '
                    "mapping of names and keys"
                )
            seen.add(name)
            yield name, key

    def _output_key(self, key: str | None, item: str | None, attempt: Attempt, name: str) -> str:
        if key is None:
            return check_key(f"{self._kind}/{attempt.run}/{attempt.index:06}/{name}")
        filled = _filled(key, item, attempt)
        return check_key(filled + name if key.endswith("/") else filled)


def _is_glob(template: str) -> bool:
    return not _GLOB.isdisjoint(template)


def _filled(template: str, item: str | None, attempt: Attempt, escape: bool = False) -> str:
    if item is None and placeholders(template) - {_NUMBER}:
        raise ConfigurationError(f'"{template}" names the item, and the task has none')
    filled = fill(template, item or "", attempt.index + 1, glob.escape if escape else None)
    try:
        filled.encode()
    except UnicodeEncodeError as error:
        raise ConfigurationError(f"{filled!r:.80} is not UTF-8, as names and keys have to be") from error
    return filled


def _plain(name: str, what: str) -> str:
    """The name itself, of a file below the working folder."""
    try:
        return check_key(name)
    except ConfigurationError as error:
        raise ConfigurationError(
            f"the {what} {name!r:.80} is no file below the working folder: expected a relative path of plain "
            "names"
        ) from error


def _matching(
    folder: Path, template: str, item: str | None, attempt: Attempt, inputs: set[str]
) -> dict[str, int]:
    """The files that an output means, with their sizes. Raises KindError where there is none."""
    if not _is_glob(template):
        name = _plain(_filled(template, item, attempt), "output")
        size_bytes = _size_of(folder, name)
        if size_bytes is None:
            raise KindError(f'the command has ended well, but it made no file "{name}"')
        return {name: size_bytes}
    pattern = _filled(template, item, attempt, escape=True)
    names = sorted(set(glob.glob(pattern, root_dir=folder, recursive=True)) - inputs)  # noqa: PTH207 - root_dir
    found = {}
    for name in names:
        if (folder / name).is_dir() and not (folder / name).is_symlink():
            continue
        size_bytes = _size_of(folder, name)
        if size_bytes is not None:
            found[_plain(name, "output")] = size_bytes
    if not found:
        raise KindError(f'the command has ended well, but it made no file that matches "{pattern}"')
    return found


def _size_of(folder: Path, name: str) -> int | None:
    """None where there is no such file. Raises KindError for what is no regular file of the folder's own: a
    link that a command has unpacked may lead anywhere."""
    file = folder / name
    try:
        status = os.lstat(file)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if stat.S_ISDIR(status.st_mode):
        raise KindError(f'the output "{name}" is a folder; its files are meant by "{name}/**"')
    if not stat.S_ISREG(status.st_mode) or file.resolve() != folder.resolve() / name:
        raise KindError(f'the output "{name}" is a link, or otherwise no regular file; nothing was stored')
    return status.st_size
