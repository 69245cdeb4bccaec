"""Commands of `kon map` as people read them: in a dry run, in a job log, in a message."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence

from kon.kinds.command import DEFAULT_SHELL, ShellProgram, Template


class Commands:
    """The command of each item, as one would type it into a shell."""

    def __init__(self, command: str, items: Sequence[str]) -> None:
        """Raises ConfigurationError for a command that can't be run."""
        self._template = Template(command, ShellProgram(DEFAULT_SHELL, frozenset()))
        self._items = items

    def __getitem__(self, index: int) -> bytes:
        call = self._template.call(self._items[index], index + 1)
        if call.argv[0] != DEFAULT_SHELL:
            return os.fsencode(shlex.join(call.argv))
        text = call.argv[-1].removeprefix(" ")
        for name, value in call.variables.items():
            # the expansion stands in quotes of its own, whatever is around it (see kon.kinds.quoting)
            text = text.replace(f'"${name}"', shlex.quote(value))
        return os.fsencode(text)
