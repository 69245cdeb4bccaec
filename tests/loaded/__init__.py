"""A stand-in for the interpreter in tests that start kon by the hundred: a fork of one that has loaded it.

A start of kon takes 0.1 to 0.4 s, most of it imports; a fork takes a tenth. What runs is a process of its
own, with its own arguments, folder, environment and standard files. Limits, ignored signals, terminals and
process groups are the loaded process's: tests of these, and of the start itself, start Python.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from shutil import rmtree
from typing import Final

_HERE: Final = Path(__file__).parent
_TEMPORARY: Final = tempfile.gettempdir()
_ENVIRONMENT: Final = dict(os.environ)
"""As before any test: one that starts a process may have changed both."""


def begin() -> None:
    """Take the environment as it is now: what conftest has removed, each start of a test's would lack, and
    Python itself would be started in place of a fork."""
    _ENVIRONMENT.clear()
    _ENVIRONMENT.update(os.environ)


def for_start(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that Python looks at when it starts, and never again."""
    begin, whole = ("PYTHON", "LC_", "LD_"), ("LANG", "LANGUAGE")
    return {name: value for name, value in environment.items() if name.startswith(begin) or name in whole}


class _Loaded:
    """A loaded process. environment: what it is started with."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.folder: Final = Path(tempfile.mkdtemp(prefix="kon-", dir=_TEMPORARY))
        self.socket: Final = self.folder / "s"
        theirs, self._ours = os.pipe()
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(self.socket))
            listening.listen()
            given = (listening.fileno(), theirs)
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.loaded.process", *map(str, given)],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                pass_fds=given, cwd=_HERE.parent.parent, env=environment,
            )  # fmt: skip
        os.close(theirs)

    def end(self) -> None:
        os.close(self._ours)
        self._process.wait()
        rmtree(self.folder)


_LOADED: Final[dict[frozenset[tuple[str, str]], _Loaded]] = {}


def python(environment: Mapping[str, str] = _ENVIRONMENT) -> list[str]:
    """What a command line begins with in place of `sys.executable`.

    environment: what has been loaded has what Python reads at its start from there.
    """
    key = frozenset(for_start(environment).items())
    if key not in _LOADED:
        _LOADED[key] = _Loaded(environment)
    return [sys.executable, "-IS", str(_HERE / "ask.py"), str(_LOADED[key].socket)]


def end() -> None:
    """End what was started here."""
    while _LOADED:
        _LOADED.popitem()[1].end()
