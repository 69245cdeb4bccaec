"""DynamoDB's rules."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from kon.backends.emulator.strict.calls import Call, Refusal, Reply
from kon.backends.emulator.strict.rules import Account, MadeThing, changes, refuses, tracks

_API: Final = "https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/"
_TABLES: Final = 500
"""That an account may make, change or delete at a time."""

_ITEMS: Final = (
    "dynamodb:PutItem",
    "dynamodb:GetItem",
    "dynamodb:UpdateItem",
    "dynamodb:DeleteItem",
    "dynamodb:Query",
    "dynamodb:Scan",
    "dynamodb:BatchGetItem",
    "dynamodb:BatchWriteItem",
    "dynamodb:BatchExecuteStatement",
    "dynamodb:ExecuteStatement",
)
_STATEMENTS: Final = 25
_KEYS: Final = 100

_TAGGED_S: Final = 30.0
"""After that a table's tags are known, however often they were asked for."""


def tables_of(call: Call) -> list[str]:
    """Names of the tables that a call is about."""
    given = call.parameters
    if "TableName" in given:
        return [str(given["TableName"]).rpartition("/")[2]]
    if "ResourceArn" in given:
        return [str(given["ResourceArn"]).rpartition("/")[2]]
    if "RequestItems" in given:
        return list(given["RequestItems"])
    names = [_quoted(each.get("Statement", "")) for each in given.get("Statements", [given])]
    return list(dict.fromkeys(filter(None, names)))


def _quoted(statement: str) -> str:
    return statement.partition('"')[2].partition('"')[0]


def _table(call: Call, account: Account) -> MadeThing | None:
    names = tables_of(call)
    return account.get("table", names[0]) if names else None


def _in_use(name: str, state: str) -> Refusal:
    return Refusal(
        "ResourceInUseException",
        f"Attempt to change a resource which is still in use: Table is being {state}: {name}",
    )


@tracks("dynamodb:CreateTable")
def _made(call: Call, account: Account, reply: Reply) -> None:
    table = account.made("table", tables_of(call)[0], creating=2, untagged=2, ttl=1)
    table.tags = {tag["Key"]: tag["Value"] for tag in call.parameters.get("Tags") or ()}


@tracks("dynamodb:UpdateTimeToLive")
def _expiring(call: Call, account: Account, reply: Reply) -> None:
    if (table := _table(call, account)) is not None:
        table.about["ttl"] = call.parameters["TimeToLiveSpecification"].get("Enabled")


@tracks("dynamodb:DeleteTable")
def _deleted(call: Call, account: Account, reply: Reply) -> None:
    table = account.deleted("table", tables_of(call)[0], deleting=2)
    table.about["described"] = reply.json().get("TableDescription", {})


@refuses("dynamodb:CreateTable", source="https://github.com/hashicorp/terraform-provider-aws/issues/1776")
def too_many_tables_at_a_time(call: Call, account: Account) -> Refusal | None:
    """More than 500 tables are being made or deleted: LimitExceededException, which no SDK tries again."""
    most = account.limits.get("tables at a time", _TABLES)
    # each refusal stands for a moment in which one of them came to its end
    account.limits["tables at a time"] = most if most >= _TABLES else most + 1
    busy = sum(table.left["creating"] > 0 for table in account.of("table"))
    if busy < most:
        return None
    return Refusal(
        "LimitExceededException",
        f"Subscriber limit exceeded: Only {_TABLES} tables can be created, updated, or deleted at a time",
    )


@refuses("dynamodb:CreateTable", "dynamodb:DeleteTable", source=_API + "API_DeleteTable.html")
def table_is_being_deleted(call: Call, account: Account) -> Refusal | None:
    """The table of that name is going (here: for two looks): ResourceInUseException."""
    gone = account.gone.get(("table", tables_of(call)[0]))
    return _in_use(gone.name, "deleted") if gone is not None and gone.left["deleting"] > 0 else None


@refuses(
    "dynamodb:DeleteTable",
    "dynamodb:UpdateTable",
    "dynamodb:UpdateTimeToLive",
    "dynamodb:TagResource",
    source=_API + "API_DeleteTable.html",
)
def table_is_being_made(call: Call, account: Account) -> Refusal | None:
    """The table is CREATING: ResourceInUseException."""
    table = _table(call, account)
    return _in_use(table.name, "created") if table is not None and table.left["creating"] > 0 else None


@refuses(*_ITEMS, source=_API + "API_CreateTable.html")
def table_has_no_rows_yet(call: Call, account: Account) -> Refusal | None:
    """The table is CREATING: reads and writes of rows get ResourceNotFoundException."""
    table = _table(call, account)
    if table is None or table.left["creating"] <= 0:
        return None
    return Refusal("ResourceNotFoundException", "Requested resource not found")


@changes("dynamodb:DescribeTable", source=_API + "API_CreateTable.html")
def table_takes_time(call: Call, account: Account, reply: Reply) -> Reply | None:
    """A new table is CREATING for some seconds (here: two looks)."""
    table = _table(call, account)
    if not reply.ok or table is None or not table.still("creating"):
        return None
    found = reply.json()
    return reply.with_json({"Table": {**found["Table"], "TableStatus": "CREATING"}})


@changes("dynamodb:DescribeTable", source=_API + "API_DeleteTable.html")
def deletion_takes_time(call: Call, account: Account, reply: Reply) -> Reply | None:
    """A deleted table is DELETING for some seconds (here: two looks)."""
    gone = account.gone.get(("table", tables_of(call)[0]))
    if reply.ok or gone is None or not gone.still("deleting"):
        return None
    described: dict[str, Any] = gone.about.get("described") or {"TableName": gone.name}
    return reply.with_json({"Table": {**described, "TableStatus": "DELETING"}}, status=200)


@changes("dynamodb:ListTables", source=_API + "API_DeleteTable.html")
def deleted_tables_are_listed(call: Call, account: Account, reply: Reply) -> Reply | None:
    """A table is listed for as long as it is DELETING."""
    going = [gone.name for gone in account.going("table") if gone.left["deleting"] > 0]
    if not going:
        return None
    found = reply.json()
    return reply.with_json({**found, "TableNames": sorted({*found.get("TableNames", []), *going})})


@changes("dynamodb:ListTagsOfResource", source=_API + "API_TagResource.html")
def tags_come_late(call: Call, account: Account, reply: Reply) -> Reply | None:
    """A new table's tags are eventually consistent: an empty list for some seconds (here: two looks)."""
    table = _table(call, account)
    # a run may take longer than that before its first look, and then sees the tags
    if not reply.ok or table is None or table.age_s > _TAGGED_S or not table.still("untagged"):
        return None
    return reply.with_json({"Tags": []})


@refuses("dynamodb:UpdateTimeToLive", source="https://github.com/strawgate/py-key-value/pull/170")
def expiry_is_on_already(call: Call, account: Account) -> Refusal | None:
    """Time to live is on already: ValidationException."""
    table = _table(call, account)
    if table is None or table.about.get("ttl") is not True:
        return None
    if not call.parameters["TimeToLiveSpecification"].get("Enabled"):
        return None
    return Refusal("ValidationException", "TimeToLive is already enabled")


@refuses("dynamodb:UpdateTimeToLive", source="https://github.com/aws/aws-cdk/pull/13720")
def expiry_was_changed_a_moment_ago(call: Call, account: Account) -> Refusal | None:
    """Time to live is switched a second time within an hour: ValidationException."""
    table = _table(call, account)
    if table is None or "ttl" not in table.about:
        return None
    if call.parameters["TimeToLiveSpecification"].get("Enabled") == table.about["ttl"]:
        return None
    return Refusal(
        "ValidationException", "Time to live has been modified multiple times within a fixed interval"
    )


@changes("dynamodb:DescribeTimeToLive", source=_API + "API_UpdateTimeToLive.html")
def expiry_takes_time(call: Call, account: Account, reply: Reply) -> Reply | None:
    """Time to live is ENABLING for up to an hour (here: one look)."""
    table = _table(call, account)
    if not reply.ok or table is None or table.about.get("ttl") is not True or not table.still("ttl"):
        return None
    found = reply.json()["TimeToLiveDescription"]
    return reply.with_json({"TimeToLiveDescription": {**found, "TimeToLiveStatus": "ENABLING"}})


@refuses("dynamodb:BatchExecuteStatement", source=_API + "API_BatchExecuteStatement.html")
def batches_read_or_write(call: Call, account: Account) -> Refusal | None:
    """A batch has both reads and writes: ValidationException."""
    verbs = {
        each["Statement"].split(None, 1)[0].upper() == "SELECT" for each in call.parameters["Statements"]
    }
    if len(verbs) < 2:
        return None
    return Refusal(
        "ValidationException", "A batch of statements can have either reads or writes, and not both"
    )


@refuses("dynamodb:BatchExecuteStatement", source=_API + "API_BatchExecuteStatement.html")
def batches_have_25_statements(call: Call, account: Account) -> Refusal | None:
    """A batch has more than 25 statements: ValidationException."""
    if len(call.parameters["Statements"]) <= _STATEMENTS:
        return None
    return Refusal("ValidationException", "Member must have length less than or equal to 25")


@refuses("dynamodb:BatchGetItem", source=_API + "API_BatchGetItem.html")
def batches_have_100_keys(call: Call, account: Account) -> Refusal | None:
    """A batch of reads has more than 100 keys: ValidationException."""
    if sum(len(each.get("Keys", ())) for each in call.parameters["RequestItems"].values()) <= _KEYS:
        return None
    return Refusal("ValidationException", "Too many items requested for the BatchGetItem call")


@refuses("dynamodb:BatchGetItem", source="https://github.com/boto/boto3/issues/4131")
def batches_have_no_key_twice(call: Call, account: Account) -> Refusal | None:
    """A batch of reads has a key twice: ValidationException."""
    for each in call.parameters["RequestItems"].values():
        counted = Counter(repr(sorted(key.items())) for key in each.get("Keys", ()))
        if any(times > 1 for times in counted.values()):
            return Refusal("ValidationException", "Provided list of item keys contains duplicates")
    return None
