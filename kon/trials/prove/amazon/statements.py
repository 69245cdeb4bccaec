"""PartiQL, so much of it as an INSERT of one item and an UPDATE by key take."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec

from kon.trials.prove.amazon.http import Refused

_TOKEN: Final = re.compile(r"""\s*(?:"([^"]+)"|'([^']*)'|(\d+)|([A-Za-z]+)|([?{}:,=]))""")

Value = dict[str, Any]
"""An attribute's value, by its type."""


class Statement(msgspec.Struct, frozen=True):
    """values: to be written. where: what an UPDATE finds its item by, and its condition. removed: attributes.

    None stands for a value that is a parameter: first those of `values`, then those of `where`.
    """

    table: str
    values: tuple[tuple[str, Value | None], ...]
    removed: tuple[str, ...] = ()
    where: tuple[tuple[str, Value | None], ...] | None = None

    def bound(self, parameters: Sequence[Value]) -> tuple[dict[str, Value], dict[str, Value]]:
        """Values and conditions, with the parameters in their places. Raises Refused."""
        left = iter(parameters)
        both = [
            {name: value if value is not None else next(left) for name, value in pairs}
            for pairs in (self.values, self.where or ())
        ]
        if next(left, None) is not None:
            raise Refused("ValidationException", text="more parameters than the statement has places")
        return both[0], both[1]


@lru_cache(maxsize=64)
def parsed(text: str) -> Statement:
    """Raises Refused for what is no such statement."""
    return _Parser(text).statement()


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = list(_TOKEN.finditer(text))
        if "".join(each[0] for each in self._tokens) != text:
            raise Refused("ValidationException", text=f"Statement wasn't well formed: {text}")
        self._at = 0

    def statement(self) -> Statement:
        found = self._insert() if self._word("INSERT") else self._update()
        if self._at != len(self._tokens):
            raise self._unexpected()
        return found

    def _insert(self) -> Statement:
        self._expect("INTO")
        table = self._quoted(1)
        self._expect("VALUE")
        self._expect("{")
        values = []
        while True:
            name = self._quoted(2)
            self._expect(":")
            values.append((name, self._value()))
            if not self._word(","):
                break
        self._expect("}")
        return Statement(table, tuple(values))

    def _update(self) -> Statement:
        self._expect("UPDATE")
        table = self._quoted(1)
        values, removed = [], []
        while self._word("SET"):
            values.append(self._equation())
        while self._word("REMOVE"):
            removed.append(self._quoted(1))
        self._expect("WHERE")
        where = [self._equation()]
        while self._word("AND"):
            where.append(self._equation())
        return Statement(table, tuple(values), tuple(removed), tuple(where))

    def _equation(self) -> tuple[str, Value | None]:
        name = self._quoted(1)
        self._expect("=")
        return name, self._value()

    def _value(self) -> Value | None:
        token = self._next()
        if token[0].strip() == "?":
            return None
        if token[2] is not None:
            return {"S": token[2]}
        if token[3] is not None:
            return {"N": token[3]}
        raise self._unexpected()

    def _quoted(self, kind: int) -> str:
        found: str | None = self._next()[kind]
        if found is None:
            raise self._unexpected()
        return found

    def _word(self, word: str) -> bool:
        if self._at < len(self._tokens) and self._tokens[self._at][0].strip() == word:
            self._at += 1
            return True
        return False

    def _expect(self, word: str) -> None:
        if not self._word(word):
            raise self._unexpected()

    def _next(self) -> re.Match[str]:
        if self._at == len(self._tokens):
            raise self._unexpected()
        self._at += 1
        return self._tokens[self._at - 1]

    def _unexpected(self) -> Refused:
        return Refused("ValidationException", text=f"Statement wasn't well formed, at token {self._at}")
