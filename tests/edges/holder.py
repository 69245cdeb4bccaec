"""The process that holds the account. Each play is a fork of it, so that none begins anew."""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import os
import pickle
import shutil
import signal
import tempfile
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from tests.edges.account import Account
from tests.edges.play import LEAVES, begin
from tests.edges.state import processes_below
from tests.edges.world import World, preload

_CHILD_SUBREAPER: Final = 36
"""prctl's number: whoever outlives its parent below this process becomes its child."""


class Holder:
    """The holding process, for whoever searches: it ends with the block."""

    def __enter__(self) -> Self:
        context = multiprocessing.get_context("fork")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_hold, args=(theirs, self._pipe), daemon=False)
        self._process.start()
        theirs.close()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pipe.close()
        self._process.join()

    def ask(self, command: str, job: Callable[..., Any], *arguments: Any) -> Any:
        """What `job(world, folder, *arguments)` comes to, where all is as `command` finds it.

        Raises AssertionError with the traceback of what went wrong there.
        """
        self._pipe.send((command, job, arguments))
        went_well, result = self._pipe.recv()
        if not went_well:
            raise AssertionError(result)
        return result


def _hold(pipe: Connection, theirs: Connection) -> None:
    theirs.close()
    place = Path(tempfile.mkdtemp(prefix="kon-edges-"))
    try:
        folder, kept = place / "play", place / "begun"
        world = World(Account(place))
        preload(world)
        gc.collect()
        gc.freeze()
        begun = None
        while True:
            try:
                command, job, arguments = pipe.recv()
            except EOFError:
                return
            try:
                if command != begun:
                    begun = None
                    begin(world, folder, command)
                    shutil.rmtree(kept, ignore_errors=True)
                    shutil.copytree(folder, kept)
                    begun = command
                shutil.rmtree(folder, ignore_errors=True)
                shutil.copytree(kept, folder)
                pipe.send(_forked(world, folder, command, job, arguments))
            except BrokenPipeError:
                return  # who asked has gone
            except Exception:
                pipe.send((False, traceback.format_exc()))
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _forked(
    world: World, folder: Path, command: str, job: Callable[..., Any], arguments: tuple[Any, ...]
) -> tuple[bool, Any]:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            ctypes.CDLL(None).prctl(_CHILD_SUBREAPER, 1)
            try:
                world.account.as_if_new()
                if command in LEAVES:
                    begin(world, folder, command)
                answer = (True, job(world, folder, *arguments))
            except Exception:
                answer = (False, traceback.format_exc())
            _end_those_below()
            with os.fdopen(writing, "wb") as stream:
                pickle.dump(answer, stream)
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        content = stream.read()
    os.waitpid(pid, 0)
    if not content:
        return False, "the play's process ended without a word"
    found: tuple[bool, Any] = pickle.loads(content)
    return found


def _end_those_below() -> None:
    """Workers that outlive a command: none of them may meet the next play."""
    while below := processes_below():
        for each in below:
            os.kill(each, signal.SIGKILL)
        for each in below:
            os.waitpid(each, 0)
