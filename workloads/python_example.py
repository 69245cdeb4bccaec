"""Functions that workloads/python-example.yml calls."""

from __future__ import annotations


def collatz(start: int) -> dict[str, int]:
    """Steps until 1 is reached, and the largest number on the way."""
    steps, number, largest = 0, start, start
    while number != 1:
        number = number // 2 if number % 2 == 0 else 3 * number + 1
        steps += 1
        largest = max(largest, number)
    return {"steps": steps, "largest": largest}


def power(base: float, *, exponent: float = 2) -> float:
    return float(base**exponent)
