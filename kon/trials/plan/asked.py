"""What a person writes on a command line: numbers of workers, times, amounts of money."""

from __future__ import annotations

import re
from typing import Final

from kon.core.errors import ConfigurationError, describe

MAX_WORKERS: Final = 100_000

_TIME: Final = re.compile(
    r"(?:(\d+(?:\.\d+)?)d)?(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?"
)
_MONEY: Final = re.compile(r"\$?(\d+(?:\.\d+)?)(?:usd)?", re.IGNORECASE)
_UNITS_S: Final = (86_400.0, 3_600.0, 60.0, 1.0)


def parse_workers(text: str) -> list[int]:
    """`1,2,4` or `1,2,4,...,1024`: the dots go on as the two before them began, by a factor or a step."""
    wanted = "--workers: expected numbers such as 1,2,4 or 1,2,4,...,1024"
    words = [word.strip() for word in text.split(",")]
    numbers: list[int] = []
    for at, word in enumerate(words):
        if word in ("...", ".."):
            if len(numbers) < 2 or at + 2 != len(words) or not words[-1].isdecimal():
                raise ConfigurationError(f"{wanted}, found {describe(text)}")
            numbers += _between(numbers[-2], numbers[-1], int(words[-1]))
        elif not word.isdecimal() or not 1 <= int(word) <= MAX_WORKERS:
            raise ConfigurationError(f"{wanted}, each from 1 to {MAX_WORKERS}, found {describe(word)}")
        else:
            numbers.append(int(word))
    return sorted(set(numbers))


def _between(before: int, last: int, end: int) -> list[int]:
    """What stands for the dots, without the end."""
    factor, rest = divmod(last, before)
    step = last - before
    if step <= 0:
        return []
    found = []
    # 1,2,... may mean either; doubling is what a fleet is tried with
    while (last := last * factor if rest == 0 else last + step) < end:
        found.append(last)
    return found


def parse_time(text: str, option: str) -> float:
    """`30m`, `1h30m`, `90s` or `90`, in seconds."""
    found = _TIME.fullmatch(text.replace(" ", ""))
    if found is None or not any(found.groups()):
        raise ConfigurationError(
            f"{option}: expected a time such as 30m, 1h30m or 90s, found {describe(text)}"
        )
    return sum(float(part) * unit_s for part, unit_s in zip(found.groups(), _UNITS_S) if part)


def parse_usd(text: str, option: str) -> float:
    """`5usd`, `$5` or `5`."""
    found = _MONEY.fullmatch(text.replace(" ", ""))
    if found is None:
        raise ConfigurationError(
            f"{option}: expected an amount in US dollars such as 5usd, found {describe(text)}"
        )
    return float(found[1])
