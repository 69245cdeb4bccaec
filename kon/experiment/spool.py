"""Bodies that can be read only once, kept in a temporary file so that they can be read again."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from kon.core.errors import ConfigurationError, WorkloadError
from kon.experiment.bodies import encode_body
from kon.experiment.sources import Numbered, Source


class Spool(Source):
    """A file of one JSON value a line, in `folder` or where temporary files go; it ends with this object."""

    def __init__(self, bodies: Iterable[Any], name: str, folder: Path | None = None) -> None:
        """Takes all bodies at once. Raises WorkloadError for one that is not a JSON value, or a full disk."""
        self.name = name
        self._count = 0
        try:
            self._file = tempfile.NamedTemporaryFile(prefix=".kon-", suffix=".jsonl", dir=folder)  # noqa: SIM115
            for body in bodies:
                self._file.write(encode_body(body) + b"\n")
                self._count += 1
            self._file.flush()
        except ConfigurationError as error:
            raise WorkloadError(f"{self.place(self._count)}: {error}") from error
        except OSError as error:
            raise WorkloadError(f"{name}: can't be kept in a temporary file: {error}") from error

    def round(self) -> Iterator[Numbered]:
        decode = msgspec.json.Decoder().decode
        with Path(self._file.name).open("rb") as file:
            for number, line in enumerate(file):
                yield number, decode(line)

    def place(self, number: int) -> str:
        return f"{self.name}[{number}]"

    def __len__(self) -> int:
        return self._count
