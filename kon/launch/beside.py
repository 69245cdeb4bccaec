"""Starts the page of `kon run --live`, and ends it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from kon.core.errors import ConfigurationError
from kon.report.live import check_installed

END_S: Final = 5.0
"""How long the page's process may take to show how all ended, in seconds."""


class Said(msgspec.Struct, frozen=True):
    """The one line that the page's process writes to stdout: the link, or why there is none."""

    link: str = ""
    problem: str = ""


@contextmanager
def page_of(root: Path) -> Iterator[str]:
    """Within it, a page about the runs in this folder is served, which need not be there yet; its link.

    Raises ConfigurationError where it can't be.
    """
    check_installed()
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "kon.launch.page", str(root.absolute())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the run, which may go on for a while
        )
    except OSError as error:
        raise ConfigurationError(f"--live: the page's process can't be started: {error.strerror}") from error
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield _link(process.stdout.readline())
        finally:
            process.stdin.close()
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _link(line: bytes) -> str:
    try:
        said = msgspec.json.decode(line, type=Said)
    except msgspec.DecodeError:
        said = Said(problem="its process has ended and said nothing")
    if said.problem:
        raise ConfigurationError(f"--live: {said.problem}")
    return said.link
