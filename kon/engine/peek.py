"""What a task has written so far, while it runs: a reader asks in the run's folder, and its worker answers.

The reader makes an empty file `peek/INDEX-TOKEN`, with a token of its own, and the worker that runs that task
writes `peek/INDEX-TOKEN.json`. Both go with the reader. A worker looks once a second, at one folder that is
mostly not there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from kon.engine.records.records import RunFolder

QUESTION_LOOK_S: Final = 1.0
"""Between two looks at whether somebody asks, in seconds."""

ANSWER_S: Final = 3.0
"""How long an answer is waited for: workers of another machine, or of a kind that can't tell, give none."""

STALE_S: Final = 30.0
"""A question is so old only where its reader has gone."""

_QUESTION: Final = re.compile(r"([0-9]+)-[0-9a-f]+")

_log = logging.getLogger(__name__)

Output = Mapping[str, str]
"""Text by the stream that it was written to: `stdout`, `stderr`."""


async def asked(folder: RunFolder, index: int) -> Output | None:
    """What the task has written so far; None where no worker says so.

    Raises OSError where the run's folder can't be written to.
    """
    place = folder.path / "peek"
    question = place / f"{index}-{secrets.token_hex(8)}"
    answer = _answer_to(question)
    _ask(question)
    until_s = time.monotonic() + ANSWER_S
    try:
        while time.monotonic() < until_s:
            await asyncio.sleep(0.1)
            with contextlib.suppress(FileNotFoundError):
                return msgspec.json.decode(answer.read_bytes(), type=dict[str, str])
        return None
    finally:
        for each in (question, answer):
            each.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # another one asks
            place.rmdir()


async def answering(folder: RunFolder, output: Callable[[int], Output | None]) -> None:
    """Answer until cancelled. output: of a task by its index; None for one that does not run here.

    Where a kind raises an error at that, nobody gets an answer about that task. The first one is logged.
    """
    place = folder.path / "peek"
    is_told = False

    def told(index: int) -> Output | None:
        nonlocal is_told
        try:
            return output(index)
        except Exception as error:
            if not is_told:
                said = f"{type(error).__name__}: {error}"
                _log.warning("what task %d has written can't be shown: its kind raised %s", index, said)
            is_told = True
            return None

    while True:
        await asyncio.sleep(QUESTION_LOOK_S)
        with contextlib.suppress(OSError):  # the reader went away, or the disk is full: no answer
            _answer(place, told)


def _ask(question: Path) -> None:
    while True:
        question.parent.mkdir(exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # another reader has just left, and the folder with it
            question.touch()
            return


def _answer_to(question: Path) -> Path:
    return question.with_name(f"{question.name}.json")


def _answer(place: Path, output: Callable[[int], Output | None]) -> None:
    for question in list(place.iterdir()):
        asks = _QUESTION.fullmatch(question.name)
        if asks is None:
            continue
        with contextlib.suppress(FileNotFoundError):  # its reader has gone; others still ask
            said = output(int(asks[1]))
            if said is not None:
                fresh = place / f".{question.name}.{os.getpid()}"
                fresh.write_bytes(msgspec.json.encode(said))
                fresh.rename(_answer_to(question))
                if not question.exists():  # its reader left meanwhile
                    _answer_to(question).unlink(missing_ok=True)
                    with contextlib.suppress(OSError):  # another one asks
                        place.rmdir()
            elif time.time() - question.stat().st_mtime > STALE_S:
                question.unlink()
                _answer_to(question).unlink(missing_ok=True)
