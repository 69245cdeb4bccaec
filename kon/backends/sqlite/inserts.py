"""Many rows in one statement.

The driver lets go of Python's global lock around every step of a statement. One step for fifty rows
in place of fifty steps saves a quarter of the time, and more when the event loop is busy.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import chain
from typing import Any, Final

_ROWS: Final = 50


class Inserts:
    """An INSERT of rows with `columns` columns, in statements of fifty rows and of one."""

    def __init__(self, insert: str, columns: int, clause: str = "") -> None:
        row = f"({', '.join('?' * columns)})"
        self._one = f"{insert} {row} {clause}"
        self._many = f"{insert} {', '.join([row] * _ROWS)} {clause}"

    def run(self, db: sqlite3.Connection, rows: Sequence[Sequence[Any]]) -> None:
        whole = len(rows) - len(rows) % _ROWS
        for begin in range(0, whole, _ROWS):
            db.execute(self._many, tuple(chain.from_iterable(rows[begin : begin + _ROWS])))
        if whole < len(rows):
            db.executemany(self._one, rows[whole:])
