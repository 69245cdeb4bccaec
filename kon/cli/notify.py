"""`--notify`: from a topic on the command line to messages when runs end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kon.cli.output import note
from kon.core.spec import RunSpec
from kon.engine.records.records import RunFolder

if TYPE_CHECKING:
    from kon.launch.notice import Notices

notify_option = click.option(
    "--notify",
    metavar="TOPIC",
    help="Tell an SNS topic when a run ends: its ARN, or `fleet` for that of the fleet's alarms.",
)


class Notify:
    """Tells a topic; without one it does nothing."""

    def __init__(self, topic: str | None, specs: Sequence[RunSpec]) -> None:
        """Raises ConfigurationError for what is no topic."""
        self._notices: Notices | None = None
        self.flags: list[str] = []
        """The same, for a command line that goes on with what this one leaves."""
        if topic is not None:
            from kon.launch.notice import Notices  # with boto3

            self._notices = Notices(topic, specs, note)
            self.flags = ["--notify", topic]

    def ended(self, row: dict[str, Any], folder: Path) -> None:
        """A run has ended just now."""
        if self._notices is not None:
            self._notices.ended(row, folder)

    def of_what_breaks(self, current: Callable[[], RunFolder | None]) -> AbstractContextManager[None]:
        """Within it, an error that breaks off the run `current` is told."""
        return nullcontext() if self._notices is None else self._notices.of_what_breaks(current)
