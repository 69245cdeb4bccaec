"""A process that has loaded what tests import, but for kon: each run of pytest is a fork of it.

A start of pytest takes as long as a hundred tests. Reads a line of JSON for each run, the words for pytest,
and answers with pytest's exit code, or below 0 the signal that ended it. told: where all that it prints goes.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import sys
from pathlib import Path

import pytest


def main(modules: Path, told: Path) -> None:
    gc.disable()
    for name in json.loads(modules.read_text(encoding="utf-8")):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.enable()
    for line in sys.stdin:
        print(run(json.loads(line), told), flush=True)


def run(words: list[str], told: Path) -> int:
    """In a session of its own, so that nothing of it is left."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.setsid()
            out = os.open(told, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
            for descriptor in range(3):
                os.dup2(out, descriptor)
            code = pytest.main([*words, "-W", "ignore::pytest.PytestAssertRewriteWarning"])
            sys.stdout.flush()
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
