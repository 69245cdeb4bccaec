"""How the rows of a ledger lie in a DynamoDB table, and the statements that write them.

One table serves a run's two ledgers, which differ in where their rows lie. Where there is a row for
each task, the partition key has the task in it and the sort key is 0: neighbours lie in different
partitions, and no partition gets more than its share of the writes, whatever the order of the tasks.
A small ledger, the control table, lies in one partition, sorted, so that it can be read in order
without a look at any other row.

Few attributes, because a client's CPU goes into each value of each statement: a row's token is by
itself, as conditions name it; state, attempt, owner and expiry stand together in `claim`, as JSON, in
which the expiry keeps its precision.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from kon.core.errors import MessageTooLarge, StoreError
from kon.core.ledger import Record
from kon.core.task import State

MAX_ITEM_BYTES: Final = 400 * 1024
"""Bytes of one item, its attributes' names included (DynamoDB's limit)."""

MAX_OUTCOME_BYTES: Final = MAX_ITEM_BYTES - 4_096
"""What is left for an outcome after the key, the token and the owner's name."""

EXPIRY_ATTRIBUTE: Final = "expires_at_s"
"""When the row may be cleaned away, in seconds since the epoch. Nothing that kon decides hangs on it."""

_DAY_S: Final = 86_400
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.-]+")

Item = dict[str, dict[str, Any]]
"""Attribute values by name, as DynamoDB writes them."""


def table_definition() -> dict[str, Any]:
    """What CreateTable gets about the table, but for its name, its billing and its tags."""
    return {
        "AttributeDefinitions": [
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": "N"},
        ],
        "KeySchema": [
            {"AttributeName": "pk", "KeyType": "HASH"},
            {"AttributeName": "sk", "KeyType": "RANGE"},
        ],
    }


class _Claim(msgspec.Struct, frozen=True, array_like=True):
    state: State
    attempt: int
    owner: str
    expires_s: float


_encoder = msgspec.json.Encoder()
_claims = msgspec.json.Decoder(_Claim)


class RowLayout:
    """Where a ledger's rows lie, and its statements.

    name: of the ledger; plain, and no other's in this table.
    spread: each row by itself, else all in one partition, sorted by key.
    """

    def __init__(self, table: str, name: str, spread: bool) -> None:
        for plain in (table, name):
            if not _PLAIN.fullmatch(plain):
                raise ValueError(f"a ledger can't be named {plain!r}")
        self.table = table
        self.name = name
        self.spread = spread
        self.prefix = f"{name}#"
        self._day = -1
        self._texts: dict[str, str] = {}

    # --- rows ----------------------------------------------------------------------------------------

    def key(self, key: int) -> Item:
        if self.spread:
            return {"pk": {"S": f"{self.name}#{key}"}, "sk": {"N": "0"}}
        return {"pk": {"S": self.name}, "sk": {"N": str(key)}}

    def key_of(self, item: Item) -> int:
        return int(item["pk"]["S"][len(self.prefix) :]) if self.spread else int(item["sk"]["N"])

    def item(self, record: Record, expires_at_s: int) -> Item:
        item = self.key(record.key)
        item["fence"] = {"S": record.token}
        item["claim"] = _claim(record)
        item[EXPIRY_ATTRIBUTE] = {"N": str(expires_at_s)}
        if record.outcome is not None:
            item["outcome"] = {"B": record.outcome}
        return item

    def record(self, item: Item) -> Record:
        """Raises StoreError for a row that kon did not write."""
        try:
            claim = _claims.decode(item["claim"]["S"])
            outcome = item.get("outcome")
            return Record(
                self.key_of(item),
                item["fence"]["S"],
                claim.state,
                claim.attempt,
                claim.owner,
                claim.expires_s,
                None if outcome is None else bytes(outcome["B"]),
            )
        except (KeyError, ValueError, msgspec.DecodeError) as error:
            raise StoreError(
                f"the table {self.table} has a row that kon did not write ({item.get('pk')}: {error!r}); "
                "it is left untouched: remove it, or take another table"
            ) from error

    # --- statements ----------------------------------------------------------------------------------

    def insert(self, record: Record, expires_at_s: int) -> dict[str, Any]:
        """A statement of BatchExecuteStatement that writes a row where there is none."""
        values: list[dict[str, Any]] = [self._key_value(record.key), {"S": record.token}, _claim(record)]
        if record.outcome is None:
            return _statement(self._text("insert", expires_at_s), values)
        values.append({"B": record.outcome})
        return _statement(self._text("insert outcome", expires_at_s), values)

    def replace(self, record: Record, if_token: str, expires_at_s: int) -> dict[str, Any]:
        """One that writes a row over one with this token."""
        values: list[dict[str, Any]] = [{"S": record.token}, _claim(record)]
        text = "replace"
        if record.outcome is not None:
            text = "replace outcome"
            values.append({"B": record.outcome})
        values += (self._key_value(record.key), {"S": if_token})
        return _statement(self._text(text, expires_at_s), values)

    def _key_value(self, key: int) -> dict[str, str]:
        """The part of the key that is not the same for all rows."""
        return {"S": f"{self.name}#{key}"} if self.spread else {"N": str(key)}

    def _text(self, statement: str, expires_at_s: int) -> str:
        """A statement's text: the same for a day, so that it is made once."""
        if expires_at_s != self._day:
            self._day, self._texts = expires_at_s, self._make_texts(expires_at_s)
        return self._texts[statement]

    def _make_texts(self, day: int) -> dict[str, str]:
        pk, sk = ("?", "0") if self.spread else (f"'{self.name}'", "?")
        row = f"'pk': {pk}, 'sk': {sk}, 'fence': ?, 'claim': ?"
        insert = f'INSERT INTO "{self.table}" VALUE'
        update = f'UPDATE "{self.table}" SET "fence"=? SET "claim"=?'
        where = f'WHERE "pk"={pk} AND "sk"={sk} AND "fence"=?'
        return {
            "insert": f"{insert} {{{row}, '{EXPIRY_ATTRIBUTE}': {day}}}",
            "insert outcome": f"{insert} {{{row}, 'outcome': ?, '{EXPIRY_ATTRIBUTE}': {day}}}",
            "replace": f'{update} SET "{EXPIRY_ATTRIBUTE}"={day} REMOVE "outcome" {where}',
            "replace outcome": f'{update} SET "outcome"=? SET "{EXPIRY_ATTRIBUTE}"={day} {where}',
        }


def expiry_s(now_s: float, keep_s: float) -> int:
    """When a row that is written now may be cleaned away: `keep_s` from now, and until the day is over."""
    return (int((now_s + keep_s) // _DAY_S) + 1) * _DAY_S


def item_bytes(record: Record) -> int:
    """The size by which DynamoDB bills a row, to within a few bytes: names and values, in UTF-8."""
    outcome = 0 if record.outcome is None else len(record.outcome) + 7
    texts = len(record.token.encode()) + len(record.owner.encode())
    return 120 + texts + outcome


def check_size(record: Record) -> int:
    """The row's size. Raises MessageTooLarge for one over DynamoDB's limit, before anything is sent."""
    size = item_bytes(record)
    if size > MAX_ITEM_BYTES:
        raise MessageTooLarge(
            f"the outcome of task {record.key} makes a row of {size:,} bytes, and DynamoDB takes "
            f"{MAX_ITEM_BYTES:,}. Nothing of its batch was written. Put large results into files and "
            "name those in the result"
        )
    return size


def _statement(text: str, values: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "Statement": text,
        "Parameters": values,
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }


def _claim(record: Record) -> dict[str, str]:
    claim = _Claim(record.state, record.attempt, record.owner, record.expires_s)
    return {"S": _encoder.encode(claim).decode()}
