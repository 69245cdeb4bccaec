"""Functions that the tests of the kind `python` call."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

WAS_LOADED_AS = __name__
WAS_LOADING = os.environ.get("KON_LOADING")


class Squares:
    @staticmethod
    def of(number: int) -> int:
        return number * number


def echo(value: Any) -> Any:
    return value


def spread(*args: Any, **kwargs: Any) -> Any:
    return [args, kwargs]


async def later(value: Any) -> Any:
    await asyncio.sleep(0)
    return value


async def fail_later(value: Any) -> Any:
    await asyncio.sleep(0)
    raise LookupError(value)


def where(_: Any) -> dict[str, Any]:
    """What a function sees of the process it runs in."""
    return {
        "pid": os.getpid(),
        "group": os.getpgrp(),
        "main_thread": threading.current_thread() is threading.main_thread(),
        "argv": sys.argv,
        "safe_path": sys.flags.safe_path,
        "folders": [folder for folder in sys.path if Path(folder).name == "kinds"],
    }


def loaded_as(_: Any) -> dict[str, Any]:
    return {"name": WAS_LOADED_AS, "was_loading": WAS_LOADING, "loading": os.environ.get("KON_LOADING")}


def inheritable(_: Any) -> list[int]:
    """The files that programs which the function starts would find open, other than the first three."""
    found = []
    for number in range(3, 200):
        try:
            if os.get_inheritable(number):
                found.append(number)
        except OSError:  # none is open by that number
            continue
    return found


def read_stdin(_: Any) -> str:
    return sys.stdin.read()


def fail(text: str) -> None:
    _inner(text)


def _inner(text: str) -> None:
    raise ValueError(text)


def fail_of_bytes(text: str) -> None:
    raise ValueError(f"{text}\udce9")


def fail_because(text: str) -> None:
    try:
        _inner(text)
    except ValueError as error:
        raise RuntimeError("it went wrong") from error


def recurse(depth: int) -> int:
    return _back(depth)


def _back(depth: int) -> int:
    return recurse(depth + 1)


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise TypeError("no text")


def raise_unspeakable(_: Any) -> None:
    raise Unspeakable


def leave(code: int) -> None:
    sys.exit(code)


def cancel(_: Any) -> None:
    raise asyncio.CancelledError


def interrupt(_: Any) -> str:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0)
    return "went on"


def vanish(code: int) -> None:
    os._exit(code)


def kill_self(_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def close_all(_: Any) -> None:
    os.closerange(0, 100)
    time.sleep(1_000)


def close_and_vanish(code: int) -> None:
    os.closerange(3, 100)
    time.sleep(0.1)
    os._exit(code)


def give(what: str) -> Any:
    return {
        "a set": {1, 2},
        "bytes": b"x",
        "an object": object(),
        "not a number": [float("nan")],
        "a half character": "\ud800",
        "a tuple": (1, (2, 3)),
        "a large integer": 2**100,
        "an integer too large": 10**4_299 * 9_999_999_999,
        "a ring": _ring(),
    }[what]


def _ring() -> list[Any]:
    ring: list[Any] = []
    ring.append(ring)
    return ring


def change(value: list[int]) -> list[int]:
    value.append(99)
    return value


def say(text: str) -> None:
    print(text)


def say_and_vanish(text: str) -> None:
    print(text)
    os._exit(1)


def hang(path: str) -> None:
    """Says that it is there through a named pipe, which it then holds open; so does what it started."""
    with Path(path).open("w", buffering=1) as pipe:
        pipe.write("up\n")
        subprocess.run(["sleep", "1000"], pass_fds=[pipe.fileno()])


def spin(path: str) -> None:
    with Path(path).open("w", buffering=1) as pipe:
        pipe.write("up\n")
        while True:
            pass


def wait_for_line(path: str) -> str:
    return Path(path).read_text().strip()


def hang_until(path: str, until: str) -> str:
    with Path(path).open("w", buffering=1) as pipe:
        pipe.write("up\n")
    wait_for_line(until)
    return "went on"


def dispatch(body: dict[str, Any]) -> Any:
    """One function that does what it is told, for pools that are to see calls of several sorts."""
    arguments = dict(body)
    called = arguments.pop("call")
    return os.getpid() if called == "pid" else globals()[called](**arguments)


if __name__ == "__main__":
    raise SystemExit("this must not run")
