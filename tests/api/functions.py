"""Functions that the tests have workers call."""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path
from typing import Any


def double(number: float) -> float:
    return 2 * number


def echo(item: Any) -> Any:
    return item


def power(base: int, exponent: int = 2) -> int:
    return int(base**exponent)


def fail_on_odd(number: int) -> int:
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number


def wait_for(path: str) -> str:
    """Return once the file is there."""
    while not Path(path).exists():
        time.sleep(0.005)
    return path


def count_call(path: str) -> int:
    """Note the call in a file; how many there were."""
    with Path(path).open("a") as file:
        file.write("x")
    return len(Path(path).read_text())


def fail_without(path: str) -> str:
    if not Path(path).exists():
        raise FileNotFoundError(path)
    return path


class Shelf:
    @staticmethod
    def triple(number: int) -> int:
        return 3 * number


def with_keys_that_are_no_text(item: int) -> dict[object, str]:
    return {1: "a", "1": "b"}


def says(item: int) -> int:
    print("to stdout", item)
    print("to stderr", item, file=sys.stderr)
    logging.getLogger("mine").warning("logged %s", item)
    return item


def words_of_the_program(item: int) -> list[str]:
    return sys.argv
