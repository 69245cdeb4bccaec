"""What commands about an experiment file share: its options, its folder, and how it is named again."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from kon.cli.runs import RESULTS
from kon.core.errors import ConfigurationError
from kon.experiment import Experiment, load

MOST_TEXT: Final = 100_000
"""Characters of an experiment file that the records of its runs hold; a longer one is only named there."""

file_argument = click.argument("file", type=click.Path(path_type=Path))

out_option = click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The folder of the records; it is made if it is missing.  "
    "[default: results/<the first experiment's name>, with the backend behind it where --set names another "
    "than the file]",
)

set_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a key of the file: --set workers=[1,2] or --set workload.count=10; of one experiment among "
    "several: --set compare:workers=4. May be given more than once.",
)

limit_option = click.option("--limit", type=int, metavar="N", help="Only the first N tasks of each run.")


_OF_BACKEND: Final = re.compile(r"([^=:]*:)?backend(\.name)?=")
"""--set that names a backend: `backend=aws`, `compare:backend.name=aws`."""


class RunArguments(msgspec.Struct, frozen=True):
    """What a command line asks for. Paths are as they were given."""

    file: Path
    out: Path | None
    overrides: Sequence[str]
    limit: int | None

    def load(self) -> list[Experiment]:
        """Raises ConfigurationError for all that is wrong."""
        return load(self.file, self.overrides, self.limit)

    def root(self, experiments: Sequence[Experiment], emulator: bool = False) -> Path:
        """The folder of the records.

        Its name has the backend where --set names another than the file, and says where that is an emulator:
        what was measured there would be taken for the same run otherwise.
        """
        if self.out is not None:
            return self.out
        first = experiments[0]
        words = [first.name]
        if first.backend.name != self._backend_of_file(first):
            words.append(first.backend.name)
        if emulator:
            words.append("emulator")
        return RESULTS / "-".join(words)

    def _backend_of_file(self, first: Experiment) -> str | None:
        """The backend without what --set says of it; None where the file is none without that."""
        others = [text for text in self.overrides if not _OF_BACKEND.match(text)]
        if len(others) == len(self.overrides):
            return first.backend.name
        try:
            return load(self.file, others, self.limit)[0].backend.name
        except ConfigurationError:
            return None

    def origin(self) -> dict[str, Any]:
        """For the records: what brings the same tasks back, from any folder; and the file as it is now."""
        text = self.file.read_text(encoding="utf-8", errors="replace")
        return {
            "file": str(self.file.absolute()),
            "experiment_file": text if len(text) <= MOST_TEXT else None,
            "set": list(self.overrides),
            "limit": self.limit,
            "cwd": str(Path.cwd()),
        }

    def command(self, verb: str, root: Path, *flags: str) -> str:
        """The command line that asks for this once more, for a person to copy."""
        words = ["kon", verb, str(self.file), "--out", str(root)]
        for text in self.overrides:
            words += ["--set", text]
        if self.limit is not None:
            words += ["--limit", str(self.limit)]
        return shlex.join([*words, *flags])
