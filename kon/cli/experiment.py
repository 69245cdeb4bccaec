"""What commands about an experiment file share: its options, its folder, and how it is named again."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from kon.cli.runs import RESULTS
from kon.experiment import Experiment, load

MOST_TEXT: Final = 100_000
"""Characters of an experiment file that the records of its runs hold; a longer one is only named there."""

file_argument = click.argument("file", type=click.Path(path_type=Path))

out_option = click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The folder of the records, made if need be.  [default: results/<the first experiment's name>]",
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


class Asked(msgspec.Struct, frozen=True):
    """What a command line asks for. Paths are as they were given."""

    file: Path
    out: Path | None
    overrides: Sequence[str]
    limit: int | None

    def load(self) -> list[Experiment]:
        """Raises ConfigurationError for all that is wrong."""
        return load(self.file, self.overrides, self.limit)

    def root(self, experiments: Sequence[Experiment]) -> Path:
        """The folder of the records."""
        return self.out or RESULTS / experiments[0].name

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
        """A command line that asks for the same again, for a person to copy."""
        words = ["kon", verb, str(self.file), "--out", str(root)]
        for text in self.overrides:
            words += ["--set", text]
        if self.limit is not None:
            words += ["--limit", str(self.limit)]
        return shlex.join([*words, *flags])
