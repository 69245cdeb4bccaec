"""DynamoDB: one table and the calls that kon makes, as HTTP has them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final
from zlib import crc32

from kon.backends.sim.faults import Far
from kon.backends.sim.ledger import tasks_of_rows
from kon.backends.sim.network import Network
from kon.backends.sim.trace import What
from kon.trials.prove.amazon.http import Refused
from kon.trials.prove.amazon.statements import Value, parsed

Item = dict[str, Value]
Key = tuple[str, str]

MOST_STATEMENTS: Final = 25
MOST_KEYS: Final = 100
PAGE: Final = 4
"""Items of a page of Query and Scan: few, so that there is more than one page."""

_FENCED: Final = re.compile(r"fence = (:\w+)")


class DynamoModel:
    """One table. Each item of a batch is written on its own.

    tasks_per_row: for the trace, as SimLedger has it.
    """

    def __init__(self, table: str, network: Network) -> None:
        self.tasks_per_row = 1
        self.rows: dict[Key, Item] = {}
        self._table = table
        self._network = network
        self._faults = network.faults
        self._remembers = self._faults is not None and self._faults.can_fire("stale_read")
        self._past: dict[Key, list[tuple[float, Item | None]]] = {}  # until when, what stood there

    def do(self, operation: str, given: Mapping[str, Any], host: str) -> dict[str, Any]:
        """Raises Refused."""
        calls: dict[str, Callable[[Mapping[str, Any], str], dict[str, Any]]] = {
            "BatchExecuteStatement": self._statements,
            "BatchGetItem": self._get,
            "BatchWriteItem": self._put,
            "PutItem": self._put_if,
            "DeleteItem": self._delete_if,
            "Query": self._query,
            "Scan": self._scan,
        }
        if operation not in calls:
            raise Refused("UnknownOperationException")
        return calls[operation](given, host)

    def is_about(self, operation: str, given: Mapping[str, Any]) -> str:
        """The ledger that a call is about: its first row's."""
        if "Statements" in given:
            statement = given["Statements"][0]
            values, where = parsed(statement["Statement"]).bound(statement["Parameters"])
            return _ledger_of({**values, **where})
        if "RequestItems" in given:
            [wanted] = given["RequestItems"].values()
            first = wanted["Keys"][0] if "Keys" in wanted else wanted[0]["PutRequest"]["Item"]
            return _ledger_of(first)
        if "Item" in given or "Key" in given:
            return _ledger_of(given.get("Item") or given["Key"])
        return _ledger_of({"pk": given["ExpressionAttributeValues"][":name"]})

    # --- statements ----------------------------------------------------------------------------------

    def _statements(self, given: Mapping[str, Any], host: str) -> dict[str, Any]:
        statements = given["Statements"]
        if not 1 <= len(statements) <= MOST_STATEMENTS:
            raise Refused("ValidationException", text="too many statements, or none")
        answers: list[dict[str, Any]] = []
        keys: set[Key] = set()
        for each in statements:
            statement = parsed(each["Statement"])
            self._check_table(statement.table)
            values, where = statement.bound(each["Parameters"])
            found_by = where if statement.where is not None else values
            key = _key(found_by)
            if key in keys:
                raise Refused("ValidationException", text="two statements about one item")
            keys.add(key)
            op = "insert_new" if statement.where is None else "replace"
            tells = each.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"

            def write(
                key: Key = key,
                values: Item = values,
                where: Item = where,
                removed: Sequence[str] = statement.removed,
                inserts: bool = statement.where is None,
            ) -> dict[str, Any] | None:
                there = self.rows.get(key)
                if inserts:
                    if there is not None:
                        return {"Code": "DuplicateItem", "Item": there}
                    self._write(key, values)
                    return None
                if there is None or any(there.get(name) != value for name, value in where.items()):
                    return {"Code": "ConditionalCheckFailed", **({"Item": there} if there else {})}
                kept = {name: value for name, value in there.items() if name not in removed}
                self._write(key, {**kept, **values})
                return None

            error = self._one(op, key, host, write)
            if error is None:
                answers.append({"TableName": self._table})
                continue
            if "Item" in error and (not tells or self._fires("item_left_out", key) is not None):
                del error["Item"]
            answers.append({"Error": {"Message": error["Code"], **error}, "TableName": self._table})
        return {"Responses": answers, "ConsumedCapacity": _consumed(self._table, len(answers))}

    def _one(
        self, op: str, key: Key, host: str, write: Callable[[], dict[str, Any] | None]
    ) -> dict[str, Any] | None:
        """A write of one item, and what may go wrong with it; None where it was written."""
        if self._fires("transaction_conflict", key) is not None:
            self._tell(What.FAULT, host, op, key, "in conflict with another write")
            return {"Code": "TransactionConflict"}
        if (far := self._fires("throttle", key)) is not None:
            self._tell(What.FAULT, host, op, key, "throttled")
            return {"Code": "ThrottlingError" if far.random() < 0.5 else "ProvisionedThroughputExceeded"}
        if (far := self._fires("item_failed", key)) is not None:
            after = far.random() < 0.5
            self._tell(What.FAULT, host, op, key, f"fails {'after' if after else 'before'} its effect")
            if after:
                write()
            return {"Code": "InternalServerError"}
        error = write()
        if self._network.trace is not None:
            note = f"written: {_row(self.rows.get(key))}"
            if error is not None:
                note = f"refused, there is {_row(self.rows.get(key))}"
            self._tell(What.EFFECT, host, op, key, note)
        return error

    # --- whole items ---------------------------------------------------------------------------------

    def _get(self, given: Mapping[str, Any], host: str) -> dict[str, Any]:
        [(table, wanted)] = given["RequestItems"].items()
        self._check_table(table)
        keys = [_key(each) for each in wanted["Keys"]]
        if not 1 <= len(keys) <= MOST_KEYS or len(set(keys)) < len(keys):
            raise Refused("ValidationException", text="too many keys, none, or one of them twice")
        found: list[Item] = []
        left: list[Any] = []
        for key, given_key in zip(keys, wanted["Keys"], strict=True):
            if self._fires("throttle", key) is not None:
                self._tell(What.FAULT, host, "read", key, "throttled")
                left.append(given_key)
                continue
            item = self.rows.get(key) if wanted.get("ConsistentRead") else self._read(key)
            if item is not None:
                found.append(item)
            if self._network.trace is not None:
                stale = "" if item == self.rows.get(key) else "an old version: "
                self._tell(What.EFFECT, host, "read", key, f"{stale}{_row(item)}")
        if len(left) == len(keys):
            raise Refused("ProvisionedThroughputExceededException")
        reply: dict[str, Any] = {"Responses": {table: found[::-1]}}  # in no order
        reply["UnprocessedKeys"] = {table: {**wanted, "Keys": left}} if left else {}
        return {**reply, "ConsumedCapacity": _consumed(table, len(keys))}

    def _put(self, given: Mapping[str, Any], host: str) -> dict[str, Any]:
        [(table, requests)] = given["RequestItems"].items()
        self._check_table(table)
        keys = [_key(each["PutRequest"]["Item"]) for each in requests]
        if not 1 <= len(keys) <= MOST_STATEMENTS or len(set(keys)) < len(keys):
            raise Refused("ValidationException", text="too many items, none, or one of them twice")
        left = []
        for key, request in zip(keys, requests, strict=True):
            if self._fires("throttle", key) is not None:
                self._tell(What.FAULT, host, "put", key, "throttled")
                left.append(request)
                continue
            self._write(key, request["PutRequest"]["Item"])
            self._tell(What.EFFECT, host, "put", key, f"written: {_row(self.rows[key])}")
        if len(left) == len(keys):
            raise Refused("ProvisionedThroughputExceededException")
        return {
            "UnprocessedItems": {table: left} if left else {},
            "ConsumedCapacity": _consumed(table, len(keys)),
        }

    def _put_if(self, given: Mapping[str, Any], host: str) -> dict[str, Any]:
        item = given["Item"]
        return self._conditional("insert_new", given, _key(item), item, host)

    def _delete_if(self, given: Mapping[str, Any], host: str) -> dict[str, Any]:
        return self._conditional("delete", given, _key(given["Key"]), None, host)

    def _conditional(
        self, op: str, given: Mapping[str, Any], key: Key, item: Item | None, host: str
    ) -> dict[str, Any]:
        self._check_table(given["TableName"])

        def write() -> dict[str, Any] | None:
            there = self.rows.get(key)
            if not _holds(given["ConditionExpression"], there, given.get("ExpressionAttributeValues", {})):
                return {"Code": "ConditionalCheckFailed", **({"Item": there} if there else {})}
            self._write(key, item)
            return None

        error = self._one(op, key, host, write)
        if error is None:
            return {"ConsumedCapacity": _consumed(self._table, 1)[0]}
        tells = given.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"
        more = (
            {"Item": error["Item"]}
            if "Item" in error and tells and self._fires("item_left_out", key) is None
            else {}
        )
        if error["Code"] in ("TransactionConflict", "ConditionalCheckFailed"):
            raise Refused(f"{error['Code']}Exception", **more)
        if error["Code"] == "InternalServerError":
            raise Refused("InternalServerError", 500)
        raise Refused("ProvisionedThroughputExceededException")

    # --- pages ---------------------------------------------------------------------------------------

    def _query(self, given: Mapping[str, Any], host: str) -> dict[str, Any]:
        if given["KeyConditionExpression"] != "pk = :name AND sk >= :first":
            raise Refused("ValidationException", text=given["KeyConditionExpression"])
        values = given["ExpressionAttributeValues"]
        name, first = values[":name"]["S"], int(values[":first"]["N"])
        keys = sorted(
            (key for key in self.rows if key[0] == name and int(key[1]) >= first), key=lambda key: int(key[1])
        )
        return self._page(given, keys, lambda item: True)

    def _scan(self, given: Mapping[str, Any], host: str) -> dict[str, Any]:
        if given["FilterExpression"] != "begins_with(pk, :name)":
            raise Refused("ValidationException", text=given["FilterExpression"])
        prefix = given["ExpressionAttributeValues"][":name"]["S"]
        segment, segments = given["Segment"], given["TotalSegments"]
        keys = sorted(key for key in self.rows if crc32(key[0].encode()) % segments == segment)
        return self._page(given, keys, lambda item: item["pk"]["S"].startswith(prefix))

    def _page(
        self, given: Mapping[str, Any], keys: Iterable[Key], passes: Callable[[Item], bool]
    ) -> dict[str, Any]:
        """One page, of what is looked at before it is filtered."""
        self._check_table(given["TableName"])
        keys = list(keys)
        if (after := given.get("ExclusiveStartKey")) is not None:
            keys = keys[keys.index(_key(after)) + 1 :] if _key(after) in keys else []
        page = keys[: min(PAGE, given.get("Limit", PAGE))]
        reply: dict[str, Any] = {"Items": [item for key in page if passes(item := self.rows[key])]}
        if len(page) < len(keys):
            reply["LastEvaluatedKey"] = {"pk": {"S": page[-1][0]}, "sk": {"N": page[-1][1]}}
        return {**reply, "Count": len(reply["Items"]), "ConsumedCapacity": _consumed(self._table, 1)[0]}

    # --- rows ----------------------------------------------------------------------------------------

    def _read(self, key: Key) -> Item | None:
        """An eventually consistent read."""
        faults = self._faults
        if faults is not None and (far := self._fires("stale_read", key)) is not None:
            then_s = asyncio.get_running_loop().time() - far.uniform(0.0, faults.spans.stale_s)
            for until_s, item in self._past.get(key, ()):
                if until_s > then_s:
                    return item
        return self.rows.get(key)

    def _write(self, key: Key, item: Item | None) -> None:
        if self._remembers:
            now_s = asyncio.get_running_loop().time()
            self._past.setdefault(key, []).append((now_s, self.rows.get(key)))
        if item is None:
            self.rows.pop(key, None)
        else:
            self.rows[key] = item

    def _check_table(self, table: str) -> None:
        if table != self._table:
            raise Refused("ResourceNotFoundException")

    def _fires(self, fault: str, key: Key) -> Far | None:
        return None if self._faults is None else self._faults.fires(fault, _ledger_of({"pk": {"S": key[0]}}))

    def _tell(self, what: What, host: str, op: str, key: Key, note: str) -> None:
        if self._network.trace is not None:
            name, _, number = key[0].partition("#")
            tasks = tasks_of_rows([int(number)], self.tasks_per_row) if number else ()
            self._network.trace.add(asyncio.get_running_loop().time(), what, host, name, op, tasks, note)


def _key(item: Mapping[str, Value]) -> Key:
    return item["pk"]["S"], item["sk"]["N"]


def _ledger_of(item: Mapping[str, Value]) -> str:
    return str(item["pk"]["S"]).partition("#")[0]


def _holds(expression: str, item: Item | None, values: Mapping[str, Value]) -> bool:
    if expression == "attribute_not_exists(pk)":
        return item is None
    if (match := _FENCED.fullmatch(expression)) is not None:
        return item is not None and item["fence"] == values[match[1]]
    raise Refused("ValidationException", text=f"a condition that the model does not know: {expression}")


def _consumed(table: str, units: int) -> list[dict[str, Any]]:
    return [{"TableName": table, "CapacityUnits": float(units)}]


def _row(item: Item | None) -> str:
    if item is None:
        return "no row"
    return f"{item['claim']['S']} with token {item['fence']['S']}"
